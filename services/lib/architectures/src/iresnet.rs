//! IResNet, the residual network of ArcFace (Deng et al. 2019): norm, convolution, norm, PReLU, convolution, norm in
//! every block, and a linear layer over the whole last map. Published: 24.0, 43.6 and 65.2 million parameters.

use crate::builder::{Builder, Conv, Spread};

/// Channels of the four stages; each halves the side.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];

/// Side of the last map: 112 / 2⁴.
const LAST_SIDE: usize = 7;

/// Deviation of fresh convolutions, as in the published training code.
const SPREAD: Spread = Spread::Normal(0.1);

pub(crate) fn layers(b: &mut Builder, x: &str, blocks: [usize; 4], dim: usize) -> String {
    let mut x = b.conv(x, "conv1", conv3(3, 64, 1), SPREAD);
    x = b.batch_norm(&x, "bn1", 64);
    x = b.prelu(&x, "prelu", 64);
    let mut from = 64;
    for (stage, (to, count)) in CHANNELS.into_iter().zip(blocks).enumerate() {
        for i in 0..count {
            x = block(b, &x, &format!("layer{}.{i}", stage + 1), (from, to, if i == 0 { 2 } else { 1 }));
            from = to;
        }
    }
    x = b.batch_norm(&x, "bn2", from);
    x = b.flatten(&x, "flat");
    x = b.dropout(&x);
    x = b.linear(&x, "fc", (from * LAST_SIDE * LAST_SIDE, dim), Spread::FanIn);
    b.batch_norm(&x, "features", dim)
}

fn block(b: &mut Builder, x: &str, name: &str, (from, to, stride): (usize, usize, usize)) -> String {
    let part = |what: &str| format!("{name}.{what}");
    let mut y = b.batch_norm(x, &part("bn1"), from);
    y = b.conv(&y, &part("conv1"), conv3(from, to, 1), SPREAD);
    y = b.batch_norm(&y, &part("bn2"), to);
    y = b.prelu(&y, &part("prelu"), to);
    y = b.conv(&y, &part("conv2"), conv3(to, to, stride), SPREAD);
    y = b.batch_norm(&y, &part("bn3"), to);
    let straight = if stride == 1 && from == to {
        x.to_owned()
    } else {
        let narrowed = Conv { kernel: 1, pad: 0, ..conv3(from, to, stride) };
        let z = b.conv(x, &part("downsample"), narrowed, SPREAD);
        b.batch_norm(&z, &part("downsample.bn"), to)
    };
    b.add(&y, &straight, &part("sum"))
}

const fn conv3(from: usize, to: usize, stride: usize) -> Conv {
    Conv { from, to, kernel: 3, stride, pad: 1, groups: 1 }
}
