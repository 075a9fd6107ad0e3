-- Spans lie in parts: tables `spans_N`, `names_N` and `links_N`, of which the newest is written to and the oldest goes
-- as a whole. Times are microseconds since 1970 by the server's clock.
CREATE TABLE tombolo_traces.parts (
    part bigint NOT NULL PRIMARY KEY,
    begun bigint NOT NULL,
    -- Of batches that are counted.
    spans bigint NOT NULL DEFAULT 0,
    -- Rows of `links_N`.
    links bigint NOT NULL DEFAULT 0
);

-- What was written together and whose calls between services are not counted yet.
CREATE TABLE tombolo_traces.uncounted (
    batch bigint NOT NULL PRIMARY KEY,
    part bigint NOT NULL,
    spans bigint NOT NULL,
    -- The last 64 bits of the ids.
    traces bigint[] NOT NULL
);
