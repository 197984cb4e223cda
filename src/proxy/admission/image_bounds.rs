//! Upper bounds of images by the family of the model that reads them.

use crate::dialect::call::Bounds;
use crate::rules::choice::Choice;
use crate::rules::families::{self, Detail, Family};
use crate::rules::server::Server;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Tokens of an image where the model's family is not known: the most of any open model.
const UNKNOWN_IMAGE_TOKENS: u64 = 16_384;

/// Finder of `image`: each body with an image contains it, unless the word is written with JSON escapes.
static IMAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"image"));
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));

/// Returns the [`Family`] of the requested model, widened to all models that may be deployed at the
/// endpoint's URL.
pub(crate) fn family_of(choice: &Choice<'_, '_>, asked: Option<&str>) -> Family {
    let server = choice.endpoint.server;
    let deployed = choice.endpoint.deployed();
    deployed.fold(
        families::of(server, choice.served(asked)),
        |family, model| family.larger(families::of(server, Some(model))),
    )
}

/// Bounds for a family that counts images otherwise than `bounds`. `None`: they are the same, or the body has
/// no image. A bound that the operator has set is never lowered.
pub(crate) fn with_images(
    family: Family,
    server: Server,
    bounds: Bounds,
    body: &[u8],
) -> Option<Bounds> {
    let image = match family.image {
        Some(image) => image,
        None if families::rerenders_bodies(server) => UNKNOWN_IMAGE_TOKENS,
        None => bounds.image,
    };
    let is_set = bounds.image != Bounds::default().image;
    let least = if is_set { bounds.image } else { 0 };
    let image = image.max(least);
    let detail = family.detail.map(|known| Detail {
        low: known.low.max(least),
        high: known.high.max(least),
    });
    let has_images = || IMAGE.find(body).is_some() || ESCAPE.find(body).is_some();
    let is_other = image != bounds.image || detail.is_some();
    (is_other && has_images()).then_some(Bounds {
        image,
        detail,
        ..bounds
    })
}
