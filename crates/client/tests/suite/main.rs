//! What the toolkit does with streams, told as stories. Each is told over a store in this process and over HTTP to
//! the API, and must come out alike: a test with the helpers says what will happen in earnest.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod consuming;
mod entities;
mod said;
mod writing;

/// Tells each story over every kind of transport.
macro_rules! stories {
    ($($module:ident::$name:ident),+ $(,)?) => {
        mod in_process {
            $(
                #[tokio::test]
                async fn $name() {
                    crate::$module::$name(tombolo_client::Client::in_memory()).await;
                }
            )+
        }

        mod over_http {
            $(
                #[tokio::test]
                async fn $name() {
                    let streams = testkit::Streams::start();
                    let client = tombolo_client::Client::connect(streams.url()).unwrap();
                    crate::$module::$name(client).await;
                }
            )+
        }
    };
}

stories! {
    writing::what_is_written_is_read_as_it_was,
    writing::of_two_who_expect_the_same_version_one_is_told_the_other_was_faster,
    writing::a_call_with_a_key_writes_once,
    writing::several_streams_are_written_all_or_none,
    writing::only_the_first_of_many_reserves,
    writing::names_are_whatever_a_stream_may_be_called,
    writing::a_reader_that_waits_is_answered_when_there_is_something,
    writing::a_deleted_stream_keeps_its_version,
    writing::a_request_is_answered_over_a_stream_of_its_own,
    writing::what_can_t_be_replied_to_is_refused,
    consuming::each_message_is_handled_and_the_position_outlives_the_consumer,
    consuming::what_a_handler_answers_is_appended_once_whatever_was_handled_twice,
    consuming::an_error_ends_the_consumer_before_its_message_and_nothing_is_lost,
    consuming::what_passes_is_tried_again_and_what_is_skipped_is_not,
    consuming::members_of_a_group_share_a_category,
    consuming::only_what_belongs_to_a_flow_is_handled,
    consuming::a_consumer_runs_until_it_is_to_stop,
    entities::an_entity_is_what_its_messages_amount_to,
    entities::writers_who_race_decide_again_and_none_is_lost,
    entities::a_snapshot_spares_reading_and_one_of_another_form_does_not,
    entities::an_entity_that_was_deleted_is_gone,
}
