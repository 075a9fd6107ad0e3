-- Message DB's interface: its table, type, functions, views, indexes and privileges by name, signature and
-- result, so that its clients share the database. Runs in a database that does not have them yet.

CREATE SCHEMA IF NOT EXISTS message_store;

CREATE TABLE message_store.messages (
    global_position bigserial NOT NULL PRIMARY KEY,
    position bigint NOT NULL,
    time timestamp without time zone NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    stream_name text NOT NULL,
    type text NOT NULL,
    data jsonb,
    metadata jsonb,
    id uuid NOT NULL DEFAULT gen_random_uuid()
);

-- What the functions that read answer: another order than the table's, and JSON as text.
CREATE TYPE message_store.message AS (
    id varchar,
    stream_name varchar,
    type varchar,
    position bigint,
    global_position bigint,
    data varchar,
    metadata varchar,
    time timestamp without time zone
);

-- What a name says.

CREATE FUNCTION message_store.category(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT split_part($1, '-', 1)::varchar
$$;

CREATE FUNCTION message_store.id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN strpos($1, '-') > 0 THEN substr($1, strpos($1, '-') + 1) END::varchar
$$;

CREATE FUNCTION message_store.cardinal_id(stream_name varchar) RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT split_part(message_store.id($1), '+', 1)::varchar
$$;

CREATE FUNCTION message_store.is_category(category varchar) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT strpos(coalesce($1, ''), '-') = 0
$$;

CREATE FUNCTION message_store.hash_64(value varchar) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ('x' || left(md5($1), 16))::bit(64)::bigint
$$;

CREATE FUNCTION message_store.message_store_version() RETURNS varchar
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT '1.3.0'::varchar
$$;

CREATE UNIQUE INDEX messages_id ON message_store.messages (id);
CREATE UNIQUE INDEX messages_stream ON message_store.messages (stream_name, position);
CREATE INDEX messages_category ON message_store.messages (
    message_store.category(stream_name),
    global_position,
    message_store.category(metadata ->> 'correlationStreamName')
);

-- Writing. The lock is one for each category and stands until the transaction ends: within a category, global
-- positions become visible in their order.

CREATE FUNCTION message_store.acquire_lock(stream_name varchar) RETURNS bigint
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    key bigint := message_store.hash_64(message_store.category(acquire_lock.stream_name));
BEGIN
    PERFORM pg_advisory_xact_lock(key);
    RETURN key;
END
$$;

-- Reading.

CREATE FUNCTION message_store.get_stream_messages(
    stream_name varchar,
    "position" bigint DEFAULT 0,
    batch_size bigint DEFAULT 1000,
    condition varchar DEFAULT NULL
) RETURNS SETOF message_store.message
LANGUAGE plpgsql VOLATILE SET search_path TO message_store, public AS $$
DECLARE
    first bigint := coalesce(get_stream_messages.position, 0);
    most bigint := coalesce(get_stream_messages.batch_size, 1000);
    command text;
BEGIN
    IF is_category(get_stream_messages.stream_name) THEN
        RAISE EXCEPTION 'Must be a stream name: %', get_stream_messages.stream_name;
    END IF;
    command := E'\n    SELECT\n      id::varchar,\n      stream_name::varchar,\n      type::varchar,'
        || E'\n      position::bigint,\n      global_position::bigint,\n      data::varchar,'
        || E'\n      metadata::varchar,\n      time::timestamp\n    FROM\n      messages\n    WHERE'
        || E'\n      stream_name = $1 AND\n      position >= $2';
    IF get_stream_messages.condition IS NOT NULL THEN
        IF coalesce(current_setting('message_store.sql_condition', true), 'off') = 'off' THEN
            RAISE EXCEPTION 'Retrieval with SQL condition is not activated';
        END IF;
        command := command || E' AND\n      (' || get_stream_messages.condition || ')';
    END IF;
    command := command || E'\n    ORDER BY\n      position ASC';
    IF most <> -1 THEN
        command := command || E'\n      LIMIT\n        $3';
    END IF;
    IF current_setting('message_store.debug_get', true) = 'on'
        OR current_setting('message_store.debug', true) = 'on' THEN
        RAISE NOTICE '» get_stream_messages';
        RAISE NOTICE 'stream_name ($1): %', get_stream_messages.stream_name;
        RAISE NOTICE 'position ($2): %', first;
        RAISE NOTICE 'batch_size ($3): %', most;
        RAISE NOTICE 'condition ($4): %', get_stream_messages.condition;
        RAISE NOTICE 'Generated Command: %', command;
    END IF;
    RETURN QUERY EXECUTE command USING get_stream_messages.stream_name, first, most;
END
$$;

CREATE FUNCTION message_store.get_category_messages(
    category varchar,
    "position" bigint DEFAULT 1,
    batch_size bigint DEFAULT 1000,
    correlation varchar DEFAULT NULL,
    consumer_group_member bigint DEFAULT NULL,
    consumer_group_size bigint DEFAULT NULL,
    condition varchar DEFAULT NULL
) RETURNS SETOF message_store.message
LANGUAGE plpgsql VOLATILE SET search_path TO message_store, public AS $$
DECLARE
    first bigint := coalesce(get_category_messages.position, 1);
    most bigint := coalesce(get_category_messages.batch_size, 1000);
    member bigint := get_category_messages.consumer_group_member;
    size bigint := get_category_messages.consumer_group_size;
    command text;
BEGIN
    IF NOT is_category(get_category_messages.category) THEN
        RAISE EXCEPTION 'Must be a category: %', get_category_messages.category;
    END IF;
    command := E'\n    SELECT\n      id::varchar,\n      stream_name::varchar,\n      type::varchar,'
        || E'\n      position::bigint,\n      global_position::bigint,\n      data::varchar,'
        || E'\n      metadata::varchar,\n      time::timestamp\n    FROM\n      messages\n    WHERE'
        || E'\n      category(stream_name) = $1 AND\n      global_position >= $2';
    IF get_category_messages.correlation IS NOT NULL THEN
        IF NOT is_category(get_category_messages.correlation) THEN
            RAISE EXCEPTION 'Correlation must be a category (Correlation: %)',
                get_category_messages.correlation;
        END IF;
        command := command || E' AND\n      category(metadata->>''correlationStreamName'') = $4';
    END IF;
    IF (member IS NULL) <> (size IS NULL) THEN
        RAISE EXCEPTION 'Consumer group member and size must be specified (Consumer Group Member: %, Consumer Group Size: %)',
            member, size;
    END IF;
    IF size < 1 THEN
        RAISE EXCEPTION 'Consumer group size must not be less than 1 (Consumer Group Member: %, Consumer Group Size: %)',
            member, size;
    END IF;
    IF member < 0 THEN
        RAISE EXCEPTION 'Consumer group member must not be less than 0 (Consumer Group Member: %, Consumer Group Size: %)',
            member, size;
    END IF;
    IF member >= size THEN
        RAISE EXCEPTION 'Consumer group member must be less than the group size (Consumer Group Member: %, Consumer Group Size: %)',
            member, size;
    END IF;
    IF size IS NOT NULL THEN
        command := command || E' AND\n      MOD(@hash_64(cardinal_id(stream_name)), $6) = $5';
    END IF;
    IF get_category_messages.condition IS NOT NULL THEN
        IF coalesce(current_setting('message_store.sql_condition', true), 'off') = 'off' THEN
            RAISE EXCEPTION 'Retrieval with SQL condition is not activated';
        END IF;
        command := command || E' AND\n      (' || get_category_messages.condition || ')';
    END IF;
    command := command || E'\n    ORDER BY\n      global_position ASC';
    IF most <> -1 THEN
        command := command || E'\n      LIMIT\n        $3';
    END IF;
    IF current_setting('message_store.debug_get', true) = 'on'
        OR current_setting('message_store.debug', true) = 'on' THEN
        RAISE NOTICE '» get_category_messages';
        RAISE NOTICE 'category ($1): %', get_category_messages.category;
        RAISE NOTICE 'position ($2): %', first;
        RAISE NOTICE 'batch_size ($3): %', most;
        RAISE NOTICE 'correlation ($4): %', get_category_messages.correlation;
        RAISE NOTICE 'consumer_group_member ($5): %', member;
        RAISE NOTICE 'consumer_group_size ($6): %', size;
        RAISE NOTICE 'condition: %', get_category_messages.condition;
        RAISE NOTICE 'Generated Command: %', command;
    END IF;
    RETURN QUERY EXECUTE command USING
        get_category_messages.category, first, most, get_category_messages.correlation,
        member, size::smallint;
END
$$;

CREATE FUNCTION message_store.get_last_stream_message(stream_name varchar, "type" varchar DEFAULT NULL)
RETURNS SETOF message_store.message
LANGUAGE plpgsql VOLATILE SET search_path TO message_store, public AS $$
DECLARE
    command text;
BEGIN
    command := E'\n    SELECT\n      id::varchar,\n      stream_name::varchar,\n      type::varchar,'
        || E'\n      position::bigint,\n      global_position::bigint,\n      data::varchar,'
        || E'\n      metadata::varchar,\n      time::timestamp\n    FROM\n      messages\n    WHERE'
        || E'\n      stream_name = $1';
    IF get_last_stream_message.type IS NOT NULL THEN
        command := command || E' AND\n      type = $2';
    END IF;
    command := command || E'\n    ORDER BY\n      position DESC\n    LIMIT\n      1';
    IF current_setting('message_store.debug_get', true) = 'on'
        OR current_setting('message_store.debug', true) = 'on' THEN
        RAISE NOTICE '» get_last_message';
        RAISE NOTICE 'stream_name ($1): %', get_last_stream_message.stream_name;
        RAISE NOTICE 'type ($2): %', get_last_stream_message.type;
        RAISE NOTICE 'Generated Command: %', command;
    END IF;
    RETURN QUERY EXECUTE command USING get_last_stream_message.stream_name, get_last_stream_message.type;
END
$$;

-- Views, each with its share of all messages in percent.

CREATE VIEW message_store.stream_summary AS
SELECT stream_name, count(*) AS message_count,
    round(count(*) * 100.0 / (SELECT count(*) FROM message_store.messages), 2) AS percent
FROM message_store.messages GROUP BY stream_name ORDER BY stream_name;

CREATE VIEW message_store.type_summary AS
SELECT type, count(*) AS message_count,
    round(count(*) * 100.0 / (SELECT count(*) FROM message_store.messages), 2) AS percent
FROM message_store.messages GROUP BY type ORDER BY type;

CREATE VIEW message_store.stream_type_summary AS
SELECT stream_name, type, count(*) AS message_count,
    round(count(*) * 100.0 / (SELECT count(*) FROM message_store.messages), 2) AS percent
FROM message_store.messages GROUP BY stream_name, type ORDER BY stream_name, type;

CREATE VIEW message_store.type_stream_summary AS
SELECT type, stream_name, count(*) AS message_count,
    round(count(*) * 100.0 / (SELECT count(*) FROM message_store.messages), 2) AS percent
FROM message_store.messages GROUP BY type, stream_name ORDER BY type, stream_name;

CREATE VIEW message_store.category_type_summary AS
SELECT message_store.category(stream_name) AS category, type, count(*) AS message_count,
    round(count(*) * 100.0 / (SELECT count(*) FROM message_store.messages), 2) AS percent
FROM message_store.messages GROUP BY 1, 2 ORDER BY 1, 2;

CREATE VIEW message_store.type_category_summary AS
SELECT type, message_store.category(stream_name) AS category, count(*) AS message_count,
    round(count(*) * 100.0 / (SELECT count(*) FROM message_store.messages), 2) AS percent
FROM message_store.messages GROUP BY 1, 2 ORDER BY 1, 2;
