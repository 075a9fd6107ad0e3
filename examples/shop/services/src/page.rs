//! The front page as HTML, from values: no calls here, and nothing that a browser would have to run.

use crate::Name;
use crate::order::Status;
use serde::Deserialize;
use std::fmt::Write;

/// The page's style sheet.
pub const STYLE: &str = include_str!("page.css");

/// All that the page shows. What could not be read is `None`.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Who looks at it; `None` before they say so.
    pub user: Option<Name>,
    /// What can be bought.
    pub products: Option<Vec<Product>>,
    /// What the user is about to buy; the outer `None` without a user.
    pub cart: Option<Option<Cart>>,
    /// What the user has bought; the outer `None` without a user.
    pub orders: Option<Option<Vec<Order>>>,
    /// What became of the last button.
    pub notice: Option<Notice>,
}

/// A product of the catalog.
#[derive(Clone, Debug, Deserialize)]
pub struct Product {
    /// Its name for machines.
    pub sku: Name,
    /// Its name for people.
    pub name: String,
    /// What one costs.
    pub price_cents: u32,
    /// How many there are.
    pub stock: u32,
    /// One to five stars, if the catalog has them.
    pub rating: Option<f32>,
}

/// A cart.
#[derive(Clone, Debug, Deserialize)]
pub struct Cart {
    /// What is in it.
    pub items: Vec<Item>,
    /// What all of it costs.
    pub total_cents: u32,
}

/// One product in a cart or an order.
#[derive(Clone, Debug, Deserialize)]
pub struct Item {
    /// The product's name for machines.
    pub sku: Name,
    /// The product's name for people.
    pub name: String,
    /// What one costs.
    pub price_cents: u32,
    /// How many.
    pub quantity: u32,
}

/// An order.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// What was bought.
    pub items: Vec<Item>,
    /// What it cost.
    pub total_cents: u32,
}

/// What became of a button. It travels in the address, so it is one of a few words and never free text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Notice {
    /// The order is made.
    Ordered,
    /// There was nothing to order.
    CartEmpty,
    /// The cart could not be changed.
    CartFailed,
    /// There are not so many left.
    TooMany,
    /// The card will not pay for it.
    CardRefused,
    /// The payment did not work this time.
    PaymentFailed,
}

impl Notice {
    /// The word in the address.
    pub fn code(self) -> &'static str {
        match self {
            Notice::Ordered => "ordered",
            Notice::CartEmpty => "cart-empty",
            Notice::CartFailed => "cart-failed",
            Notice::TooMany => "too-many",
            Notice::CardRefused => "card-refused",
            Notice::PaymentFailed => "payment-failed",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Notice::Ordered => "Thank you for your order.",
            Notice::CartEmpty => "Your cart is empty.",
            Notice::CartFailed => "Your cart could not be changed just now. Please try again.",
            Notice::TooMany => "There are not so many left.",
            Notice::CardRefused => "Your card was refused.",
            Notice::PaymentFailed => "The payment did not work. Your cart is kept: please order again.",
        }
    }
}

impl Page {
    /// The whole document.
    pub fn html(&self) -> String {
        let mut main = String::new();
        if let Some(notice) = self.notice {
            let tone = if notice == Notice::Ordered { "good" } else { "bad" };
            let _ = writeln!(main, "<p class=\"notice {tone}\" role=\"status\">{}</p>", notice.sentence());
        }
        main += &self.products();
        if let Some(cart) = &self.cart {
            main += &cart_section(cart.as_ref());
        }
        if let Some(orders) = &self.orders {
            main += &orders_section(orders.as_deref());
        }
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>The island shop</title>\n<link rel=\"stylesheet\" href=\"/style.css\">\n</head>\n<body>\n\
             <header>\n<h1>The island shop</h1>\n{}</header>\n<main>\n{main}</main>\n</body>\n</html>\n",
            self.greeting(),
        )
    }

    fn greeting(&self) -> String {
        match &self.user {
            Some(name) => format!("<p>Hello, {}</p>\n", escape(name.as_str())),
            None => "<form method=\"post\" action=\"/login\"><label>Your name \
                     <input name=\"name\" required maxlength=\"40\" pattern=\"[a-z0-9\\-]+\" \
                     title=\"lower-case letters, digits and dashes\"></label> <button>Come in</button></form>\n"
                .into(),
        }
    }

    fn products(&self) -> String {
        let Some(products) = &self.products else {
            return section("Products", "<p class=\"gone\">The catalog can't be read just now.</p>\n");
        };
        let mut list = String::from("<ul class=\"products\">\n");
        for product in products {
            let _ = write!(
                list,
                "<li><h3>{}</h3><p>{} <small>{} left</small></p>",
                escape(&product.name),
                money(product.price_cents),
                product.stock
            );
            if let Some(rating) = product.rating {
                let _ = write!(list, "<p class=\"rating\">{rating:.1} of 5 stars</p>");
            }
            if self.user.is_some() {
                list += &add_form(product);
            }
            list += "</li>\n";
        }
        list += "</ul>\n";
        section("Products", &list)
    }
}

fn add_form(product: &Product) -> String {
    format!(
        "<form method=\"post\" action=\"/cart/add\"><input type=\"hidden\" name=\"sku\" value=\"{}\">\
         <input type=\"number\" name=\"quantity\" value=\"1\" min=\"1\" max=\"{}\" aria-label=\"quantity\">\
         <button>Put in cart</button></form>",
        escape(product.sku.as_str()),
        product.stock.min(99)
    )
}

fn cart_section(cart: Option<&Cart>) -> String {
    let Some(cart) = cart else {
        return section("Cart", "<p class=\"gone\">Your cart can't be read just now.</p>\n");
    };
    if cart.items.is_empty() {
        return section("Cart", "<p>Nothing yet.</p>\n");
    }
    let mut table = String::from("<table>\n");
    for item in &cart.items {
        let _ = writeln!(
            table,
            "<tr><td>{}</td><td>{} × {}</td><td><form method=\"post\" action=\"/cart/remove\">\
             <input type=\"hidden\" name=\"sku\" value=\"{}\"><button class=\"quiet\">Take out</button></form></td></tr>",
            escape(&item.name),
            item.quantity,
            money(item.price_cents),
            escape(item.sku.as_str())
        );
    }
    let _ = write!(
        table,
        "</table>\n<form method=\"post\" action=\"/order\"><button>Order for {}</button></form>\n",
        money(cart.total_cents)
    );
    section("Cart", &table)
}

fn orders_section(orders: Option<&[Order]>) -> String {
    let Some(orders) = orders else {
        return section("Orders", "<p class=\"gone\">Your orders can't be read just now.</p>\n");
    };
    if orders.is_empty() {
        return String::new();
    }
    let mut list = String::from("<ul class=\"orders\">\n");
    for order in orders {
        let items: Vec<_> =
            order.items.iter().map(|item| format!("{} × {}", item.quantity, escape(&item.name))).collect();
        let (id, total, items) = (escape(&order.id), money(order.total_cents), items.join(", "));
        let status = match order.status {
            Status::Paid => "",
            Status::Placed | Status::Charging => ", not paid yet",
            Status::Refused => ", card refused",
            Status::Cancelled => ", cancelled",
        };
        let _ = writeln!(list, "<li><strong>{id}</strong> {items} <small>{total}{status}</small></li>");
    }
    list += "</ul>\n";
    section("Orders", &list)
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}</section>\n")
}

fn money(cents: u32) -> String {
    format!("{}.{:02} €", cents / 100, cents % 100)
}

/// Text as HTML shows it, in content and in quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn name(text: &str) -> Name {
        Name::try_from(text.to_owned()).unwrap()
    }

    /// What stands between `<main>` and `</main>`.
    fn check(page: &Page, expected: &Expect) {
        let html = page.html();
        let main = html.split_once("<main>\n").and_then(|(_, rest)| rest.split_once("</main>"));
        expected.assert_eq(main.expect("a page has a main part").0);
    }

    #[test]
    fn a_stranger_sees_products_but_no_buttons() {
        let rope =
            Product { sku: name("rope"), name: "Rope".into(), price_cents: 1495, stock: 3, rating: None };
        check(
            &Page { products: Some(vec![rope]), ..Page::default() },
            &expect![[r#"
            <section>
            <h2>Products</h2>
            <ul class="products">
            <li><h3>Rope</h3><p>14.95 € <small>3 left</small></p></li>
            </ul>
            </section>
        "#]],
        );
    }

    #[test]
    fn what_others_wrote_is_shown_and_not_obeyed() {
        let evil = "<script>\"x\" & 'y'</script>".to_owned();
        let rope = || Product {
            sku: name("rope"),
            name: evil.clone(),
            price_cents: 5,
            stock: 500,
            rating: Some(4.5),
        };
        let item = || Item { sku: name("rope"), name: evil.clone(), price_cents: 5, quantity: 2 };
        let page = Page {
            user: Some(name("ada")),
            products: Some(vec![rope()]),
            cart: Some(Some(Cart { items: vec![item()], total_cents: 10 })),
            orders: Some(Some(vec![Order {
                id: evil.clone(),
                status: Status::Refused,
                items: vec![item()],
                total_cents: 10,
            }])),
            notice: Some(Notice::Ordered),
        };
        check(
            &page,
            &expect![[r#"
                <p class="notice good" role="status">Thank you for your order.</p>
                <section>
                <h2>Products</h2>
                <ul class="products">
                <li><h3>&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;</h3><p>0.05 € <small>500 left</small></p><p class="rating">4.5 of 5 stars</p><form method="post" action="/cart/add"><input type="hidden" name="sku" value="rope"><input type="number" name="quantity" value="1" min="1" max="99" aria-label="quantity"><button>Put in cart</button></form></li>
                </ul>
                </section>
                <section>
                <h2>Cart</h2>
                <table>
                <tr><td>&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;</td><td>2 × 0.05 €</td><td><form method="post" action="/cart/remove"><input type="hidden" name="sku" value="rope"><button class="quiet">Take out</button></form></td></tr>
                </table>
                <form method="post" action="/order"><button>Order for 0.10 €</button></form>
                </section>
                <section>
                <h2>Orders</h2>
                <ul class="orders">
                <li><strong>&lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt;</strong> 2 × &lt;script&gt;&quot;x&quot; &amp; &#39;y&#39;&lt;/script&gt; <small>0.10 €, card refused</small></li>
                </ul>
                </section>
            "#]],
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_so() {
        let page = Page {
            user: Some(name("ada")),
            products: None,
            cart: Some(None),
            orders: Some(None),
            notice: Some(Notice::PaymentFailed),
        };
        check(
            &page,
            &expect![[r#"
            <p class="notice bad" role="status">The payment did not work. Your cart is kept: please order again.</p>
            <section>
            <h2>Products</h2>
            <p class="gone">The catalog can't be read just now.</p>
            </section>
            <section>
            <h2>Cart</h2>
            <p class="gone">Your cart can't be read just now.</p>
            </section>
            <section>
            <h2>Orders</h2>
            <p class="gone">Your orders can't be read just now.</p>
            </section>
        "#]],
        );
    }

    #[test]
    fn the_word_of_a_notice_is_read_back_from_the_address() {
        use Notice::{CardRefused, CartEmpty, CartFailed, Ordered, PaymentFailed, TooMany};
        for notice in [Ordered, CartEmpty, CartFailed, TooMany, CardRefused, PaymentFailed] {
            let word = serde_json::Value::String(notice.code().to_owned());
            assert_eq!(serde_json::from_value::<Notice>(word).unwrap(), notice);
        }
    }
}
