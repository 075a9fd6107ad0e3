-- Message DB's role and its privileges: it reads and appends, and neither changes nor deletes.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store')
        AND (SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user) THEN
        BEGIN
            CREATE ROLE message_store LOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            -- Another database of the same server was given it at the same time.
            NULL;
        END;
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'message_store') THEN
        GRANT USAGE ON SCHEMA message_store TO message_store;
        GRANT SELECT, INSERT ON message_store.messages TO message_store;
        GRANT USAGE, SELECT ON SEQUENCE message_store.messages_global_position_seq TO message_store;
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA message_store TO message_store;
        GRANT SELECT ON message_store.stream_summary, message_store.type_summary,
            message_store.stream_type_summary, message_store.type_stream_summary,
            message_store.category_type_summary, message_store.type_category_summary TO message_store;
    END IF;
END
$$;
