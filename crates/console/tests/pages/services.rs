//! Services: who may see what they print; that they run is in the tests of the binary.

use crate::world::{Wished, World};
use http::StatusCode;

#[tokio::test]
async fn a_service_that_is_not_there_is_told_and_its_lines_are_not_for_everybody() {
    let world = World::new("", Wished::default());
    assert!(world.get("/services").await.text.contains("The manifest has no services"));
    let missing = world.get("/services/web").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text.contains("`web` is no service that runs here"), "{}", missing.text);
    let refused = world.get("/services/web/lines.sse").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.text.contains("tombolo console"), "{}", refused.text);
    assert_eq!(world.get_signed_in("/services/web/lines.sse").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_button_is_only_for_who_may_press_it() {
    let world = World::new("", Wished::default());
    let (cookie, proof) = (world.cookie().await, world.proof().await);
    let press = async |cookie: &str, proof: &str, verb: &str| {
        world.post(&format!("/services/web/{verb}"), cookie, &format!("proof={proof}")).await.status
    };
    assert_eq!(press("", "", "restart").await, StatusCode::FORBIDDEN);
    assert_eq!(press("", &proof, "restart").await, StatusCode::FORBIDDEN);
    assert_eq!(press(&cookie, "", "restart").await, StatusCode::FORBIDDEN);
    assert_eq!(press(&cookie, &proof, "restart").await, StatusCode::NOT_FOUND, "there is no such service");
}
