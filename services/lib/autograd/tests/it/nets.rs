//! Small networks of the shapes that are trained: MobileFaceNet, SFace, w600k_mbf, IResNet and ViT. Also read, by path, by
//! the training library's test of a whole step.

use onnx::{ModelProto, graph};

use crate::build::{Net, float};

fn conv_unit(net: &mut Net, x: &str, name: &str, dims: [i64; 3], how: (i64, i64, i64)) -> String {
    let y = net.conv(x, &format!("{name}_conv"), dims, how);
    let y = net.batch_norm(&y, &format!("{name}_norm"), dims[0]);
    net.prelu(&y, &format!("{name}_act"), dims[0])
}

/// Inverted residuals with depthwise filters, a global depthwise filter, a dense layer and a last normalisation.
pub fn mobile_face_net() -> ModelProto {
    let mut net = Net::new(&[3, 12, 12]);
    let x = conv_unit(&mut net, "x", "stem", [16, 3, 3], (2, 1, 1));
    let x = conv_unit(&mut net, &x, "stem_dw", [16, 1, 3], (1, 1, 16));
    let mut x = x;
    for (i, stride) in [1i64, 2].into_iter().enumerate() {
        let name = format!("b{i}");
        let y = conv_unit(&mut net, &x, &format!("{name}_up"), [32, 16, 1], (1, 0, 1));
        let y = conv_unit(&mut net, &y, &format!("{name}_dw"), [32, 1, 3], (stride, 1, 32));
        let y = net.conv(&y, &format!("{name}_down"), [16, 32, 1], (1, 0, 1));
        let y = net.batch_norm(&y, &format!("{name}_out"), 16);
        x = if stride == 1 { net.node("Add", &[&x, &y], &format!("{name}_sum"), vec![]) } else { y };
    }
    let x = net.conv(&x, "gdc", [16, 1, 3], (1, 0, 16));
    let x = net.batch_norm(&x, "gdc_norm", 16);
    let x = net.node("Flatten", &[&x], "flat", vec![]);
    let x = net.gemm(&x, "fc", (16, 8));
    let x = net.batch_norm(&x, "embedding", 8);
    net.finish(&x)
}

/// Pictures prepared in the graph, depthwise and pointwise in turn, dropout, a large dense layer.
pub fn sface() -> ModelProto {
    let mut net = Net::new(&[3, 8, 8]).operator_set(11);
    let (mean, by) = (net.scalar("mean", 0.1), net.scalar("by", 0.8));
    let x = net.node("Sub", &["x", &mean], "centred", vec![]);
    let x = net.node("Mul", &[&x, &by], "scaled", vec![]);
    let x = conv_unit(&mut net, &x, "c1", [8, 3, 3], (1, 1, 1));
    let x = conv_unit(&mut net, &x, "c2_dw", [8, 1, 3], (1, 1, 8));
    let x = conv_unit(&mut net, &x, "c2", [16, 8, 1], (1, 0, 1));
    let x = conv_unit(&mut net, &x, "c3_dw", [16, 1, 3], (2, 1, 16));
    let x = conv_unit(&mut net, &x, "c3", [32, 16, 1], (1, 0, 1));
    let x = net.batch_norm(&x, "bn1", 32);
    let x = net.node("Dropout", &[&x], "dropped", vec![float("ratio", 0.0)]);
    let x = net.node("Flatten", &[&x], "flat", vec![]);
    let x = net.gemm(&x, "pre", (512, 6));
    let x = net.batch_norm(&x, "fc1", 6);
    net.finish(&x)
}

/// Folded normalisations: biases and slopes, small groups, one batch normalisation at the end.
pub fn folded() -> ModelProto {
    let mut net = Net::new(&[3, 8, 8]);
    let biased = |net: &mut Net, x: &str, name: &str, dims: [i64; 3], how: (i64, i64, i64)| {
        let w = net.weight(&format!("{name}_w"), &[dims[0], dims[1], dims[2], dims[2]], (0.0, 0.4));
        let b = net.weight(&format!("{name}_b"), &[dims[0]], (0.0, 0.3));
        let attributes =
            vec![graph::ints("strides", &[how.0; 2]), graph::ints("pads", &[how.1; 4]), graph::int("group", how.2)];
        net.node("Conv", &[x, &w, &b], &format!("{name}_conv"), attributes)
    };
    let x = biased(&mut net, "x", "c1", [16, 3, 3], (2, 1, 1));
    let x = net.prelu(&x, "a1", 16);
    let x = biased(&mut net, &x, "c2", [16, 2, 3], (1, 1, 8));
    let x = net.prelu(&x, "a2", 16);
    let x = biased(&mut net, &x, "c3", [16, 16, 1], (1, 0, 1));
    let y = biased(&mut net, &x, "c4", [16, 1, 3], (1, 1, 16));
    let y = net.prelu(&y, "a4", 16);
    let y = biased(&mut net, &y, "c5", [16, 16, 1], (1, 0, 1));
    let x = net.node("Add", &[&x, &y], "sum", vec![]);
    let x = net.node("Flatten", &[&x], "flat", vec![]);
    let x = net.gemm(&x, "fc", (256, 6));
    let x = net.batch_norm(&x, "features", 6);
    net.finish(&x)
}

/// Normalisation in front of each convolution, shortcuts with and without one of their own.
pub fn iresnet() -> ModelProto {
    let mut net = Net::new(&[3, 8, 8]);
    let mut x = conv_unit(&mut net, "x", "stem", [16, 3, 3], (1, 1, 1));
    for (i, (depth, out, stride)) in [(16i64, 20i64, 2i64), (20, 20, 1)].into_iter().enumerate() {
        let name = format!("b{i}");
        let y = net.batch_norm(&x, &format!("{name}_n1"), depth);
        let y = conv_unit(&mut net, &y, &format!("{name}_c1"), [out, depth, 3], (1, 1, 1));
        let y = net.conv(&y, &format!("{name}_c2"), [out, out, 3], (stride, 1, 1));
        let y = net.batch_norm(&y, &format!("{name}_n2"), out);
        if stride > 1 {
            x = net.conv(&x, &format!("{name}_short"), [out, depth, 1], (stride, 0, 1));
            x = net.batch_norm(&x, &format!("{name}_short_n"), out);
        }
        x = net.node("Add", &[&y, &x], &format!("{name}_sum"), vec![]);
    }
    let x = net.batch_norm(&x, "bn2", 20);
    let x = net.node("Flatten", &[&x], "flat", vec![]);
    let x = net.gemm(&x, "fc", (320, 6));
    let x = net.batch_norm(&x, "features", 6);
    net.finish(&x)
}

/// Patches, a class token, positions, attention with two heads, a multilayer perceptron with GELU.
pub fn vit() -> ModelProto {
    let (d, tokens, heads) = (8i64, 5i64, 2i64);
    let mut net = Net::new(&[3, 8, 8]);
    let x = net.conv("x", "patches", [d, 3, 4], (4, 0, 1));
    let sizes = net.ints("flat_sizes", &[0, d, tokens - 1]);
    let x = net.node("Reshape", &[&x, &sizes], "flat", vec![]);
    let x = net.node("Transpose", &[&x], "tokens", vec![graph::ints("perm", &[0, 2, 1])]);
    let class = net.weight("class", &[1, 1, d], (0.0, 0.5));
    let batch = class_for_each(&mut net, &class, d);
    let x = net.node("Concat", &[&batch, &x], "with_class", vec![graph::int("axis", 1)]);
    let positions = net.weight("positions", &[1, tokens, d], (0.0, 0.5));
    let x = net.node("Add", &[&x, &positions], "placed", vec![]);
    let h = net.layer_norm(&x, "n1", d);
    let split: Vec<String> = ["q", "k", "v"]
        .into_iter()
        .map(|part| {
            let y = net.dense(&h, part, (d, d));
            let sizes = net.ints(&format!("{part}_sizes"), &[0, tokens, heads, d / heads]);
            let y = net.node("Reshape", &[&y, &sizes], &format!("{part}_heads"), vec![]);
            let perm = if part == "k" { [0, 2, 3, 1] } else { [0, 2, 1, 3] };
            net.node("Transpose", &[&y], &format!("{part}_turned"), vec![graph::ints("perm", &perm)])
        })
        .collect();
    let a = net.node("MatMul", &[&split[0], &split[1]], "scores", vec![]);
    let by = net.scalar("by", 0.5);
    let a = net.node("Mul", &[&a, &by], "scaled", vec![]);
    let a = net.node("Softmax", &[&a], "attention", vec![graph::int("axis", -1)]);
    let a = net.node("MatMul", &[&a, &split[2]], "mixed", vec![]);
    let a = net.node("Transpose", &[&a], "back", vec![graph::ints("perm", &[0, 2, 1, 3])]);
    let sizes = net.ints("joined_sizes", &[0, tokens, d]);
    let a = net.node("Reshape", &[&a, &sizes], "joined", vec![]);
    let a = net.dense(&a, "out", (d, d));
    let x = net.node("Add", &[&x, &a], "r1", vec![]);
    let h = net.layer_norm(&x, "n2", d);
    let h = net.dense(&h, "up", (d, 2 * d));
    let h = net.node("Gelu", &[&h], "gelu", vec![]);
    let h = net.dense(&h, "down", (2 * d, d));
    let x = net.node("Add", &[&x, &h], "r2", vec![]);
    let x = net.layer_norm(&x, "n3", d);
    let first = net.ints("first", &[0]);
    let x = net.node("Gather", &[&x, &first], "class_out", vec![graph::int("axis", 1)]);
    let x = net.node("Flatten", &[&x], "class_flat", vec![]);
    let x = net.gemm(&x, "head", (d, 6));
    let x = net.batch_norm(&x, "features", 6);
    net.finish(&x)
}

/// The class token once for each sample, without sizes that are computed: a mean of nothing plus the token.
fn class_for_each(net: &mut Net, class: &str, d: i64) -> String {
    let axes = net.ints("token_axes", &[1]);
    let mean = net.node("ReduceMean", &["tokens", &axes], "mean_token", vec![graph::int("keepdims", 1)]);
    let _ = d;
    let none = net.scalar("none", 0.0);
    let zero = net.node("Mul", &[&mean, &none], "zero_token", vec![]);
    net.node("Add", &[&zero, class], "class_token", vec![])
}
