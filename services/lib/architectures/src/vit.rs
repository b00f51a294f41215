//! Vision transformers in the widths of DeiT (Touvron et al. 2021): 12 blocks, norm before attention and before the
//! multilayer perceptron, patches of 8 pixels. 112 / 8 = 14 a side are the 196 tokens that the published networks have
//! of 224 pixels and patches of 16. The mean of the tokens takes the place of the class token.
//!
//! Published with patches of 16 and 1,000 classes: 5,717,416, 22,050,664 and 86,567,656 parameters. The blocks are the
//! same to the last parameter; patches, class token and last layer make the difference (tests/layouts.rs adds it up).

use crate::builder::{Builder, Conv, Spread};

const BLOCKS: usize = 12;
const PATCH: usize = 8;
const TOKENS: usize = (crate::SIDE / PATCH) * (crate::SIDE / PATCH);
const SPREAD: Spread = Spread::Truncated(0.02);

/// Width of a token and number of heads.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub width: usize,
    pub heads: usize,
}

pub(crate) fn layers(b: &mut Builder, x: &str, size: Size, dim: usize) -> String {
    let width = size.width;
    let patches = Conv { from: 3, to: width, kernel: PATCH, stride: PATCH, pad: 0, groups: 1 };
    let mut x = patch_embedding(b, x, patches);
    let places = b.weights("position", &[1, TOKENS, width], (width, width), SPREAD);
    x = b.add(&x, &places, "placed");
    for i in 0..BLOCKS {
        let name = format!("block{i}");
        let normed = b.layer_norm(&x, &format!("{name}.norm1"), width);
        let attended = attention(b, &normed, &format!("{name}.attention"), size);
        x = b.add(&x, &attended, &format!("{name}.sum1"));
        let normed = b.layer_norm(&x, &format!("{name}.norm2"), width);
        let wide = b.project(&normed, &format!("{name}.mlp1"), (width, 4 * width), SPREAD);
        let active = b.node("Gelu", &[&wide], &format!("{name}.gelu"));
        let narrow = b.project(&active, &format!("{name}.mlp2"), (4 * width, width), SPREAD);
        x = b.add(&x, &narrow, &format!("{name}.sum2"));
    }
    x = b.layer_norm(&x, "norm", width);
    x = b.mean(&x, "pooled", 1);
    x = b.dropout(&x);
    b.linear(&x, "head", (width, dim), SPREAD)
}

/// [N, 3, 112, 112] to [N, tokens, width].
fn patch_embedding(b: &mut Builder, x: &str, patches: Conv) -> String {
    let map = b.conv(x, "patches", patches, SPREAD);
    let rows = b.reshape(&map, "patches.rows", &[0, patches.to as i64, TOKENS as i64]);
    let tokens = b.transpose(&rows, "patches.tokens", &[0, 2, 1]);
    let bias = b.constant("patches.bias", &[patches.to], &vec![0.0; patches.to]);
    b.add(&tokens, &bias, "patches.biased")
}

fn attention(b: &mut Builder, x: &str, name: &str, size: Size) -> String {
    let (width, each) = (size.width, size.width / size.heads);
    let part = |what: &str| format!("{name}.{what}");
    let mut split = |what: &str, order: &[i64]| {
        let projected = b.project(x, &part(what), (width, width), SPREAD);
        let shape = [0, TOKENS as i64, size.heads as i64, each as i64];
        let heads = b.reshape(&projected, &part(&format!("{what}.heads")), &shape);
        b.transpose(&heads, &part(&format!("{what}.turned")), order)
    };
    let queries = split("query", &[0, 2, 1, 3]);
    let keys = split("key", &[0, 2, 3, 1]);
    let values = split("value", &[0, 2, 1, 3]);
    let scale = b.constant(&part("scale"), &[], &[1.0 / (each as f32).sqrt()]);
    let products = b.node("MatMul", &[&queries, &keys], &part("products"));
    let scaled = b.node("Mul", &[&products, &scale], &part("scaled"));
    let weights = b.softmax(&scaled, &part("weights"));
    let mixed = b.node("MatMul", &[&weights, &values], &part("mixed"));
    let turned = b.transpose(&mixed, &part("turned"), &[0, 2, 1, 3]);
    let joined = b.reshape(&turned, &part("joined"), &[0, TOKENS as i64, width as i64]);
    b.project(&joined, &part("out"), (width, width), SPREAD)
}
