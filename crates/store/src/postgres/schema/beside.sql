-- What stands beside Message DB's interface, in a schema of its own: where messages were that have been removed,
-- wakes, and small state. Of Message DB's functions, the two that ask for a stream's version are ours from here on,
-- with the same answers: a stream whose messages were removed goes on where it was.

-- Where removed messages were. Nothing of what they said.
CREATE TABLE tombolo.removed (
    global_position bigint NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    stream_name text NOT NULL
);
CREATE INDEX removed_stream ON tombolo.removed (stream_name, position);
CREATE INDEX removed_category ON tombolo.removed (message_store.category(stream_name), global_position);

-- Up to here every global position is settled: a message that everybody sees, or none for ever. A hint for who
-- begins: it is moved now and then.
CREATE TABLE tombolo.settled (single boolean NOT NULL PRIMARY KEY CHECK (single), position bigint NOT NULL);
INSERT INTO tombolo.settled VALUES (true, 0);

-- With its owner's rights, so that whoever may write messages may write here, too.
CREATE FUNCTION tombolo.removed_version(stream_name text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path TO pg_catalog AS $$
    SELECT max(removed.position) FROM tombolo.removed WHERE removed.stream_name = $1
$$;
GRANT USAGE ON SCHEMA tombolo TO PUBLIC;

CREATE OR REPLACE FUNCTION message_store.stream_version(stream_name varchar) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN greatest(
        (SELECT max(messages.position) FROM message_store.messages
            WHERE messages.stream_name = stream_version.stream_name),
        tombolo.removed_version(stream_version.stream_name)
    );
END
$$;

CREATE OR REPLACE FUNCTION message_store.write_message(
    id varchar,
    stream_name varchar,
    "type" varchar,
    data jsonb,
    metadata jsonb DEFAULT NULL,
    expected_version bigint DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    actual bigint;
BEGIN
    PERFORM message_store.acquire_lock(write_message.stream_name);
    actual := coalesce(message_store.stream_version(write_message.stream_name), -1);
    IF write_message.expected_version <> actual THEN
        RAISE EXCEPTION 'Wrong expected version: % (Stream: %, Stream Version: %)',
            write_message.expected_version, write_message.stream_name, actual;
    END IF;
    INSERT INTO message_store.messages (id, stream_name, position, type, data, metadata)
    VALUES (write_message.id::uuid, write_message.stream_name, actual + 1, write_message.type,
        write_message.data, write_message.metadata);
    IF current_setting('message_store.debug_write', true) = 'on'
        OR current_setting('message_store.debug', true) = 'on' THEN
        RAISE NOTICE '» write_message';
        RAISE NOTICE 'id ($1): %', write_message.id;
        RAISE NOTICE 'stream_name ($2): %', write_message.stream_name;
        RAISE NOTICE 'type ($3): %', write_message.type;
        RAISE NOTICE 'data ($4): %', write_message.data;
        RAISE NOTICE 'metadata ($5): %', write_message.metadata;
        RAISE NOTICE 'expected_version ($6): %', write_message.expected_version;
    END IF;
    RETURN actual + 1;
END
$$;

-- Wakes who listens, whoever wrote: tells the names of the streams, or nothing where they are many.
CREATE FUNCTION tombolo.wake() RETURNS trigger
LANGUAGE plpgsql SET search_path TO pg_catalog AS $$
DECLARE
    names text[];
    name text;
BEGIN
    SELECT array_agg(DISTINCT fresh.stream_name) INTO names FROM fresh;
    IF cardinality(names) > 50 THEN
        names := ARRAY[''];
    END IF;
    FOREACH name IN ARRAY coalesce(names, ARRAY[]::text[]) LOOP
        PERFORM pg_notify('tombolo_messages', name);
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER tombolo_wake AFTER INSERT ON message_store.messages
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION tombolo.wake();

-- Message DB's own script empties the table and begins again at 1. What was beside its messages goes with them.
CREATE FUNCTION tombolo.emptied() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path TO pg_catalog AS $$
BEGIN
    TRUNCATE tombolo.removed;
    UPDATE tombolo.settled SET position = 0;
    PERFORM pg_notify('tombolo_messages', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER tombolo_emptied AFTER TRUNCATE ON message_store.messages
    FOR EACH STATEMENT EXECUTE FUNCTION tombolo.emptied();

-- Small state. Times are microseconds since the epoch: those that are given, otherwise the server's own.

CREATE FUNCTION tombolo.micros(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce($1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;

-- Numbers that were never given before: etags and tokens.
CREATE SEQUENCE tombolo.numbers;

CREATE TABLE tombolo.entries (
    space text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    etag bigint NOT NULL,
    expires bigint,
    PRIMARY KEY (space, key)
);
CREATE INDEX entries_expire ON tombolo.entries (expires) WHERE expires IS NOT NULL;

-- A lease that was given back stays, with a time that is over: its token must not come again.
CREATE TABLE tombolo.leases (
    name text COLLATE "C" NOT NULL PRIMARY KEY,
    holder text NOT NULL,
    token bigint NOT NULL,
    until bigint NOT NULL
);

CREATE TABLE tombolo.timers (
    space text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    due bigint NOT NULL,
    every bigint,
    payload bytea NOT NULL,
    ready bigint NOT NULL,
    token bigint NOT NULL,
    PRIMARY KEY (space, key)
);
CREATE INDEX timers_ready ON tombolo.timers (space, ready, key);
