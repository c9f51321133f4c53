//! What holds for every page.

use crate::support::{NUMBER, Portal, Reply, TOWN, World, lookup};

/// What every answer says to browsers, to the letter: a word more in the policy may undo all others.
const HEADERS: [(&str, &str); 8] = [
    (
        "content-security-policy",
        "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Every page of the site, by its status.
async fn everything(portal: &Portal) -> Vec<(u16, Reply)> {
    let mut replies = Vec::new();
    let pages = [
        (200, "/".to_owned()),
        (200, "/avviso".to_owned()),
        (200, lookup(NUMBER, TOWN)),
        (200, lookup("312000000000471178", TOWN)),
        (400, lookup("1", "2")),
        (404, lookup("312000000000481287", TOWN)),
        (200, "/come-pagare".to_owned()),
        (200, "/informazioni".to_owned()),
        (404, "/nessuna".to_owned()),
    ];
    for (status, path) in pages {
        replies.push((status, portal.get(&path).await));
    }
    replies.push((404, portal.get_at("nessuno.localhost", "/", &[]).await));
    replies.push((405, portal.post("/avviso").await));
    replies
}

#[tokio::test(flavor = "multi_thread")]
async fn no_script_no_cookie_nothing_from_elsewhere_nothing_kept() {
    let (_world, portal) = World::with_portal().await;
    for (status, reply) in everything(&portal).await {
        assert_eq!(reply.status, status, "{}", reply.body);
        reply.assert_says(&HEADERS);
        reply.assert_says(&[
            ("cache-control", "no-store"),
            ("content-language", "it"),
            ("content-type", "text/html; charset=utf-8"),
        ]);
        assert!(reply.header("set-cookie").is_empty() && reply.header("server").is_empty(), "{:?}", reply.headers);
        for word in ["<script", "<style", " style=", " onclick", "http://", "https://", "javascript:"] {
            assert!(!reply.body.contains(word), "{word} in {}", reply.body);
        }
        for word in ["<html lang=\"it\">", "<title>", "<h1>", "<main id=\"contenuto\"", "width=device-width"] {
            assert_eq!(reply.body.matches(word).count(), 1, "{word} in {}", reply.body);
        }
    }
}

/// It promises what the portal can keep: the address of a notice is seen by the browser, and by what ends TLS.
#[tokio::test(flavor = "multi_thread")]
async fn privacy_tells_where_the_codes_stay() {
    let (_world, portal) = World::with_portal().await;
    let page = portal.get("/informazioni").await;
    page.assert_shows(200, &["il portale non li salva", "cronologia del tuo browser"]);
    assert!(!page.body.contains("non vengono conservati"), "{}", page.body);
}

/// Every address that a page names is there.
#[tokio::test(flavor = "multi_thread")]
async fn no_link_is_dead() {
    let (_world, portal) = World::with_portal().await;
    let mut followed = 0;
    for (_, reply) in everything(&portal).await {
        for attribute in ["href=\"", "action=\""] {
            for rest in reply.body.split(attribute).skip(1) {
                let address = rest.split('"').next().unwrap().replace("&#38;", "&");
                let (path, fragment) = address.split_once('#').unwrap_or((&address, ""));
                let target = if path.is_empty() { &reply.body } else { &alive(&portal, path).await };
                assert!(fragment.is_empty() || target.contains(&format!("id=\"{fragment}\"")), "{address} is dead");
                followed += 1;
            }
        }
    }
    assert!(followed > 100, "only {followed} links were found");
}

async fn alive(portal: &Portal, path: &str) -> String {
    let target = portal.get(path).await;
    assert_eq!(target.status, 200, "{path} is dead");
    target.body
}

#[tokio::test(flavor = "multi_thread")]
async fn style_and_icons_are_kept_for_ever_under_a_name_of_their_content() {
    let (_world, portal) = World::with_portal().await;
    let home = portal.get("/").await.body;
    let style = home.split("/assets/style.").nth(1).unwrap().split('"').next().unwrap();
    let reply = portal.get(&format!("/assets/style.{style}")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/css; charset=utf-8"));
    reply.assert_says(&HEADERS);
    reply.assert_says(&[("cache-control", "public, max-age=31536000, immutable")]);
    for other in ["/assets/style.0000000000000000.css", "/assets/../Cargo.toml"] {
        let reply = portal.get(other).await;
        assert_eq!(reply.status, 404, "{other}");
        reply.assert_says(&HEADERS);
    }
}
