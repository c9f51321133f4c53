//! Style, fonts and icons, inside the binary. `cargo xtask assets` makes them.

use std::sync::LazyLock;

use axum::{extract::Path, response::IntoResponse};
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};

/// A file of `assets/`.
struct Asset {
    file: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
}

/// Where pages find what they name: addresses change with the content, so that browsers may keep a file for ever.
#[derive(Debug)]
pub(crate) struct Assets {
    pub(crate) style: String,
    pub(crate) icons: String,
    pub(crate) favicon: String,
}

macro_rules! asset {
    ($file:literal, $media_type:literal) => {
        Asset { file: $file, media_type: $media_type, bytes: include_bytes!(concat!("../../assets/", $file)) }
    };
}

const STYLE: Asset = asset!("style.css", "text/css; charset=utf-8");
const ICONS: Asset = asset!("icons.svg", "image/svg+xml");
const FAVICON: Asset = asset!("favicon.svg", "image/svg+xml");
/// Named by the style, with their version in the name.
const FONTS: [Asset; 3] = [
    asset!("titillium-web-v10-latin-ext_latin-regular.woff2", "font/woff2"),
    asset!("titillium-web-v10-latin-ext_latin-600.woff2", "font/woff2"),
    asset!("titillium-web-v10-latin-ext_latin-700.woff2", "font/woff2"),
];

pub(crate) static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let path = |asset: &Asset| format!("/assets/{}", asset.name());
    Assets { style: path(&STYLE), icons: path(&ICONS), favicon: path(&FAVICON) }
});

static NAMED: LazyLock<Vec<(String, Asset)>> = LazyLock::new(|| {
    let hashed = [STYLE, ICONS, FAVICON].map(|asset| (asset.name(), asset));
    hashed.into_iter().chain(FONTS.map(|asset| (asset.file.to_owned(), asset))).collect()
});

// === impl Asset ===

impl Asset {
    /// `style.0123456789abcdef.css`
    fn name(&self) -> String {
        let digest = Sha256::digest(self.bytes);
        let hash = digest.iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let (stem, extension) = self.file.rsplit_once('.').unwrap_or((self.file, ""));
        format!("{stem}.{hash}.{extension}")
    }
}

/// `GET /assets/{name}`
pub(super) async fn get(Path(name): Path<String>) -> axum::response::Response {
    let Some((_, asset)) = NAMED.iter().find(|(named, _)| *named == name) else {
        return (StatusCode::NOT_FOUND, "").into_response();
    };
    let kept = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    ([(header::CONTENT_TYPE, asset.media_type), kept], asset.bytes).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_style_names_the_fonts_that_there_are_and_nothing_elsewhere() {
        let style = std::str::from_utf8(STYLE.bytes).unwrap();
        let named: Vec<&str> = style.split("url(").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
        for font in FONTS {
            assert!(named.iter().any(|url| url.trim_matches('"') == font.file), "{} is not named", font.file);
        }
        for url in named {
            let url = url.trim_matches(['"', '\'']);
            assert!(FONTS.iter().any(|font| font.file == url), "{url} is not served");
        }
    }

    #[test]
    fn the_style_is_small() {
        assert!(STYLE.bytes.len() < 100_000, "{} bytes", STYLE.bytes.len());
    }
}
