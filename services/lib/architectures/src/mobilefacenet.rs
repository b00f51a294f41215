//! MobileFaceNet (Chen, Liu, Gao and Han 2018, table 1): inverted bottlenecks, a global depthwise convolution instead of
//! a mean, PReLU after what is not linear. The paper states 0.99 million parameters; with slopes there are 1,003,136,
//! without them 995,584.

use crate::builder::{Builder, Conv, Spread};

/// Rows of the table: expansion, channels, repetitions, stride of the first.
const BOTTLENECKS: [(usize, usize, usize, usize); 5] =
    [(2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1)];

/// Channels before the global depthwise convolution, and its side.
const WIDE: usize = 512;
const LAST_SIDE: usize = 7;

pub(crate) fn layers(b: &mut Builder, x: &str, dim: usize) -> String {
    let full = Conv { from: 3, to: 64, kernel: 3, stride: 2, pad: 1, groups: 1 };
    let mut x = active(b, x, "conv1", full);
    x = active(b, &x, "conv2_dw", Conv { from: 64, stride: 1, groups: 64, ..full });
    let mut channels = 64;
    for (stage, (expansion, to, repetitions, stride)) in BOTTLENECKS.into_iter().enumerate() {
        for i in 0..repetitions {
            let name = format!("stage{}.{i}", stage + 1);
            x = bottleneck(
                b,
                &x,
                &name,
                Shape { from: channels, to, expansion, stride: if i == 0 { stride } else { 1 } },
            );
            channels = to;
        }
    }
    x = active(b, &x, "conv_wide", pointwise(channels, WIDE));
    let global = Conv { from: WIDE, to: WIDE, kernel: LAST_SIDE, stride: 1, pad: 0, groups: WIDE };
    x = linear(b, &x, "conv_global_dw", global);
    x = b.dropout(&x);
    x = linear(b, &x, "conv_embedding", pointwise(WIDE, dim));
    b.flatten(&x, "flat")
}

struct Shape {
    from: usize,
    to: usize,
    expansion: usize,
    stride: usize,
}

fn bottleneck(b: &mut Builder, x: &str, name: &str, s: Shape) -> String {
    let inner = s.from * s.expansion;
    let y = active(b, x, &format!("{name}.expand"), pointwise(s.from, inner));
    let depthwise = Conv { from: inner, to: inner, kernel: 3, stride: s.stride, pad: 1, groups: inner };
    let y = active(b, &y, &format!("{name}.dw"), depthwise);
    let y = linear(b, &y, &format!("{name}.project"), pointwise(inner, s.to));
    if s.stride == 1 && s.from == s.to { b.add(x, &y, &format!("{name}.sum")) } else { y }
}

const fn pointwise(from: usize, to: usize) -> Conv {
    Conv { from, to, kernel: 1, stride: 1, pad: 0, groups: 1 }
}

fn linear(b: &mut Builder, x: &str, name: &str, conv: Conv) -> String {
    let y = b.conv(x, name, conv, Spread::FanOut);
    b.batch_norm(&y, &format!("{name}.bn"), conv.to)
}

fn active(b: &mut Builder, x: &str, name: &str, conv: Conv) -> String {
    let y = linear(b, x, name, conv);
    b.prelu(&y, &format!("{name}.prelu"), conv.to)
}
