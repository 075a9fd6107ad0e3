//! tokio-postgres: named statements, parameters and results in binary form, a password.

use crate::server::Server;
use serde_json::json;
use streams::messagedb::Settings;
use tokio_postgres::types::Json;
use tokio_postgres::{Client, Config, NoTls};

async fn connect(port: u16, password: Option<&str>) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user("message_store").dbname("message_store");
    if let Some(password) = password {
        config.password(password);
    }
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

#[tokio::test]
async fn messages_are_written_and_read_in_binary_form() {
    let server = Server::start();
    let mut client = connect(server.port, None).await.unwrap();
    let write = client.prepare("SELECT write_message($1, $2, $3, $4, $5, $6)").await.unwrap();
    let (id, none) = ("00000000-0000-4000-8000-000000000001", None::<Json<serde_json::Value>>);
    let data = Json(json!({"amount": 12.50, "names": ["é", null]}));
    let position: i64 = client
        .query_one(&write, &[&id, &"account-1", &"Opened", &data, &none, &-1_i64])
        .await
        .unwrap()
        .get(0);
    assert_eq!(position, 0);
    let error =
        client.query_one(&write, &[&id, &"account-1", &"Opened", &data, &none, &7_i64]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.message(), "Wrong expected version: 7 (Stream: account-1, Stream Version: 0)");
    assert_eq!(error.code().code(), "P0001");

    let sql = "SELECT position, global_position, data::jsonb, time FROM get_stream_messages($1, $2, $3)";
    let rows = client.query(sql, &[&"account-1", &0_i64, &10_i64]).await.unwrap();
    assert_eq!((rows[0].get::<_, i64>(0), rows[0].get::<_, i64>(1)), (0, 1));
    assert_eq!(rows[0].get::<_, Json<serde_json::Value>>(2).0, data.0);
    let time: std::time::SystemTime = rows[0].get(3);
    assert!(time.elapsed().unwrap().as_secs() < 60);

    let transaction = client.transaction().await.unwrap();
    let id = "00000000-0000-4000-8000-000000000002";
    transaction.query_one(&write, &[&id, &"account-1", &"Closed", &none, &none, &None::<i64>]).await.unwrap();
    transaction.rollback().await.unwrap();
    let version: Option<i64> =
        client.query_one("SELECT stream_version($1)", &[&"account-1"]).await.unwrap().get(0);
    assert_eq!(version, Some(0));
}

#[tokio::test]
async fn statements_under_way_at_once_are_answered_in_order() {
    let server = Server::start();
    let client = connect(server.port, None).await.unwrap();
    let sql = "SELECT hash_64($1)";
    let hash = client.prepare(sql).await.unwrap();
    let ask = |text: &'static str| {
        let (client, hash) = (&client, &hash);
        async move { client.query_one(hash, &[&text]).await.unwrap().get::<_, i64>(0) }
    };
    let (a, c, empty) = tokio::join!(ask("A"), ask("C"), ask(""));
    assert_eq!(
        (a, c, empty),
        (9_206_873_250_291_191_720, 964_324_710_553_558_337, -3_162_216_497_309_240_828)
    );
}

#[tokio::test]
async fn who_knows_the_password_is_let_in() {
    let server = Server::with(Settings { password: Some("sécret".into()), ..Settings::default() });
    let client = connect(server.port, Some("sécret")).await.unwrap();
    let user: String = client.query_one("SELECT current_user::text", &[]).await.unwrap().get(0);
    assert_eq!(user, "message_store");
    let error = connect(server.port, Some("guess")).await.err().unwrap();
    assert_eq!(error.code().unwrap().code(), "28P01");
    assert!(connect(server.port, None).await.is_err());
}
