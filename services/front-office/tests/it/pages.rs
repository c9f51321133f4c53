//! What holds for every page.

use crate::support::{NUMBER, Portal, Reply, TOWN, World, lookup};

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
        let policy = reply.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("content-language", "it"),
            ("content-type", "text/html; charset=utf-8"),
        ] {
            assert_eq!(reply.header(name), value, "{name}");
        }
        assert!(reply.header("set-cookie").is_empty() && reply.header("server").is_empty(), "{:?}", reply.headers);
        for word in ["<script", "<style", " style=", " onclick", "http://", "https://", "javascript:"] {
            assert!(!reply.body.contains(word), "{word} in {}", reply.body);
        }
        for word in ["<html lang=\"it\">", "<title>", "<h1>", "<main id=\"contenuto\"", "width=device-width"] {
            assert_eq!(reply.body.matches(word).count(), 1, "{word} in {}", reply.body);
        }
    }
}

/// Every address that a page names is there.
#[tokio::test(flavor = "multi_thread")]
async fn no_link_is_dead() {
    let (_world, portal) = World::with_portal().await;
    for (_, reply) in everything(&portal).await {
        for attribute in ["href=\"", "action=\""] {
            for rest in reply.body.split(attribute).skip(1) {
                let address = rest.split('"').next().unwrap().replace("&#38;", "&");
                let (path, fragment) = address.split_once('#').unwrap_or((&address, ""));
                let target = if path.is_empty() { &reply.body } else { &portal.get(path).await.body };
                assert!(!target.is_empty(), "{address} is dead");
                assert!(fragment.is_empty() || target.contains(&format!("id=\"{fragment}\"")), "{address} is dead");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn style_and_icons_are_kept_for_ever_under_a_name_of_their_content() {
    let (_world, portal) = World::with_portal().await;
    let home = portal.get("/").await.body;
    let style = home.split("/assets/style.").nth(1).unwrap().split('"').next().unwrap();
    let reply = portal.get(&format!("/assets/style.{style}")).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(reply.header("cache-control").contains("immutable") && reply.header("x-content-type-options") == "nosniff");
    assert_eq!(portal.get("/assets/style.0000000000000000.css").await.status, 404);
    assert_eq!(portal.get("/assets/../Cargo.toml").await.status, 404);
}
