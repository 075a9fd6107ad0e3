//! The catalog: what the shop sells. Two versions of it may run side by side: `VERSION=2` adds ratings.

use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use shop::{Name, Problem};

/// Each answer says which version gave it.
type Versioned<T> = ([(HeaderName, String); 1], T);

#[derive(Clone, Copy, PartialEq)]
struct Version(u32);

#[derive(Serialize)]
struct Product {
    sku: &'static str,
    name: &'static str,
    price_cents: u32,
    stock: u32,
    /// One to five stars; new in version 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    rating: Option<f32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shop::Error> {
    let version = shop::env_or("VERSION", 1)?;
    if !(1..=2).contains(&version) {
        return Err(format!("`VERSION` is `{version}`; there are 1 and 2").into());
    }
    let app = Router::new()
        .route("/products", get(list))
        .route("/products/{sku}", get(detail))
        .with_state(Version(version));
    shop::serve("catalog", app).await
}

async fn list(State(version): State<Version>) -> Versioned<Json<Vec<Product>>> {
    version.stamp(Json(version.products()))
}

async fn detail(
    State(version): State<Version>,
    Path(sku): Path<Name>,
) -> Versioned<Result<Json<Product>, Problem>> {
    let product = version.products().into_iter().find(|product| product.sku == sku.as_str());
    let missing = || Problem::new(StatusCode::NOT_FOUND, format!("there is no product `{sku}`"));
    version.stamp(product.map(Json).ok_or_else(missing))
}

impl Version {
    fn products(self) -> Vec<Product> {
        let product = |sku, name, price_cents, stock, stars| {
            let rating = (self.0 >= 2).then_some(stars);
            Product { sku, name, price_cents, stock, rating }
        };
        vec![
            product("chart", "Sea chart", 1850, 40, 4.5),
            product("compass", "Brass compass", 4200, 12, 5.0),
            product("lantern", "Storm lantern", 2999, 7, 4.0),
            product("rope", "Hemp rope, 20 m", 1495, 60, 3.5),
            product("sloop", "Sloop, used", 890_000, 1, 4.5),
            product("tide-table", "Tide table", 650, 200, 3.0),
        ]
    }

    fn stamp<T>(self, answer: T) -> Versioned<T> {
        ([(HeaderName::from_static("x-catalog-version"), self.0.to_string())], answer)
    }
}
