//! Every operator, alone or between two layers whose gradients have to pass through it.

use onnx::{ModelProto, graph};

use crate::{
    build::{Net, float},
    check::check,
};

/// A dense layer, the nodes of `middle` on its output and a dense layer behind them.
fn between(width: i64, wide: i64, middle: impl FnOnce(&mut Net, &str) -> String) -> ModelProto {
    let mut net = Net::new(&[5]);
    let x = net.gemm("x", "first", (5, width));
    let x = middle(&mut net, &x);
    let y = net.gemm(&x, "last", (wide, 4));
    net.finish(&y)
}

/// A convolution, the nodes of `middle` on its pictures (6 channels, 7×6), all pixels and a dense layer.
fn on_pictures(pixels: i64, middle: impl FnOnce(&mut Net, &str) -> String) -> ModelProto {
    let mut net = Net::new(&[3, 7, 6]);
    let x = net.conv("x", "first", [6, 3, 3], (1, 1, 1));
    let x = middle(&mut net, &x);
    let x = net.node("Flatten", &[&x], "flat", vec![graph::int("axis", 1)]);
    let y = net.gemm(&x, "last", (pixels, 4));
    net.finish(&y)
}

#[test]
fn dense_layers() {
    check(&between(9, 9, |_, x| x.into()));
    // Weights input by output, and more samples than outputs.
    let mut net = Net::new(&[6]);
    let w = net.weight("w", &[6, 3], (0.0, 0.5));
    let y = net.node("Gemm", &["x", &w], "y", vec![]);
    check(&net.finish(&y));
}

#[test]
fn functions() {
    for op in ["Sigmoid", "Tanh", "Exp", "Erf", "Gelu", "Relu", "LeakyRelu", "Neg"] {
        check(&between(9, 9, |net, x| net.node(op, &[x], "middle", vec![])));
    }
    // Of positive values alone.
    for op in ["Sqrt", "Reciprocal"] {
        check(&between(9, 9, |net, x| {
            let x = net.node("Exp", &[x], "positive", vec![]);
            net.node(op, &[&x], "middle", vec![])
        }));
    }
}

#[test]
fn arithmetic_with_numbers_and_tensors() {
    for (op, constant) in [("Add", 0.7f32), ("Sub", 0.3), ("Mul", -1.5), ("Div", 2.5)] {
        check(&between(9, 9, |net, x| {
            let c = net.scalar("c", constant);
            net.node(op, &[x, &c], "middle", vec![])
        }));
        check(&between(9, 9, |net, x| {
            let c = net.scalar("c", constant);
            let x = net.node("Exp", &[x], "positive", vec![]);
            net.node(op, &[&c, &x], "middle", vec![])
        }));
        // A value for each, and two branches of the same value.
        check(&between(9, 9, |net, x| {
            let w = net.weight("w", &[9], (1.5, 0.4));
            net.node(op, &[x, &w], "middle", vec![])
        }));
        check(&between(9, 9, |net, x| {
            let left = net.node("Sigmoid", &[x], "left", vec![]);
            let right = net.node("Exp", &[x], "right", vec![]);
            net.node(op, &[&left, &right], "middle", vec![])
        }));
    }
    for power in [2.0, 0.5, 1.7] {
        check(&between(9, 9, |net, x| {
            let p = net.scalar("p", power);
            let x = net.node("Exp", &[x], "positive", vec![]);
            net.node("Pow", &[&x, &p], "middle", vec![])
        }));
    }
    for op in ["Add", "Mul"] {
        check(&between(9, 9, |net, x| net.node(op, &[x, x], "middle", vec![])));
    }
}

#[test]
fn arithmetic_on_pictures() {
    for dims in [&[6i64, 1, 1][..], &[1, 6, 1, 1], &[7, 1], &[6, 7, 6], &[6]] {
        for op in ["Add", "Mul"] {
            check(&on_pictures(252, |net, x| {
                let w = net.weight("w", dims, (1.0, 0.4));
                net.node(op, &[x, &w], "middle", vec![])
            }));
        }
    }
}

#[test]
fn convolutions() {
    // Channels in and out, kernel; step, border, groups; pixels that come out.
    for (dims, how, pixels) in [
        ([10, 6, 1], (1, 0, 1), 10 * 42),
        ([5, 6, 3], (1, 1, 1), 5 * 42),
        ([5, 6, 3], (2, 1, 1), 5 * 12),
        ([7, 6, 1], (2, 0, 1), 7 * 12),
        ([6, 1, 3], (1, 1, 6), 6 * 42),
        ([6, 1, 3], (2, 1, 6), 6 * 12),
        ([6, 1, 5], (1, 2, 6), 6 * 42),
        ([6, 2, 3], (1, 1, 3), 6 * 42),
        ([6, 2, 3], (2, 1, 3), 6 * 12),
        ([12, 3, 3], (1, 0, 2), 12 * 20),
    ] {
        check(&on_pictures(pixels, |net, x| net.conv(x, "middle", dims, how)));
    }
}

/// Wide enough for the path without copies of patches, and for several vectors of channels.
#[test]
fn convolutions_of_many_channels() {
    for (dims, how, pixels) in [
        ([40, 33, 3], (1, 1, 1), 40 * 36),
        ([33, 33, 3], (2, 1, 1), 33 * 9),
        ([40, 33, 3], (3, 2, 1), 40 * 9),
        ([33, 1, 3], (2, 1, 33), 33 * 9),
        ([33, 1, 6], (1, 0, 33), 33),
    ] {
        let mut net = Net::new(&[3, 6, 6]);
        let x = net.conv("x", "first", [33, 3, 3], (1, 1, 1));
        let x = net.conv(&x, "middle", dims, how);
        let x = net.node("Flatten", &[&x], "flat", vec![]);
        let y = net.gemm(&x, "last", (pixels, 3));
        check(&net.finish(&y));
    }
}

#[test]
fn convolutions_with_bias_alone_and_before_activations() {
    for op in ["", "Relu", "PRelu", "LeakyRelu"] {
        for (dims, groups) in [([6, 6, 3], 1), ([6, 1, 3], 6), ([6, 2, 3], 3), ([6, 3, 3], 2)] {
            check(&on_pictures(252, |net, x| {
                let w = net.weight("w", &[dims[0], dims[1], dims[2], dims[2]], (0.0, 0.4));
                let b = net.weight("b", &[6], (0.0, 0.5));
                let attributes = vec![graph::ints("pads", &[1; 4]), graph::int("group", groups)];
                let x = net.node("Conv", &[x, &w, &b], "middle", attributes);
                match op {
                    "" => x,
                    "PRelu" => net.prelu(&x, "act", 6),
                    _ => net.node(op, &[&x], "act", vec![float("alpha", 0.1)]),
                }
            }));
        }
    }
}

#[test]
fn normalisations_and_activations() {
    check(&on_pictures(252, |net, x| net.batch_norm(x, "norm", 6)));
    check(&on_pictures(252, |net, x| net.prelu(x, "act", 6)));
    check(&on_pictures(252, |net, x| {
        let x = net.batch_norm(x, "norm", 6);
        net.prelu(&x, "act", 6)
    }));
    check(&on_pictures(252, |net, x| {
        let x = net.batch_norm(x, "norm", 6);
        net.node("Relu", &[&x], "act", vec![])
    }));
    check(&on_pictures(252, |net, x| {
        let slope = net.weight("slope", &[1], (0.3, 0.1));
        net.node("PRelu", &[x, &slope], "act", vec![])
    }));
    check(&between(9, 9, |net, x| net.batch_norm(x, "norm", 9)));
    check(&between(40, 40, |net, x| net.layer_norm(x, "norm", 40)));
    check(&between(40, 40, |net, x| net.node("Softmax", &[x], "shares", vec![graph::int("axis", -1)])));
}

/// A normalisation whose output is read twice is not joined to the activation behind it.
#[test]
fn what_is_read_twice_is_still_right() {
    check(&on_pictures(252, |net, x| {
        let x = net.batch_norm(x, "norm", 6);
        let y = net.prelu(&x, "act", 6);
        let z = net.conv(&x, "branch", [6, 6, 3], (1, 1, 1));
        let z = net.prelu(&z, "act2", 6);
        let sum = net.node("Add", &[&y, &z], "sum", vec![]);
        net.node("Add", &[&x, &sum], "both", vec![])
    }));
}

#[test]
fn pools_and_means() {
    let kernel = |size: i64, stride: i64, pad: i64| {
        vec![
            graph::ints("kernel_shape", &[size; 2]),
            graph::ints("strides", &[stride; 2]),
            graph::ints("pads", &[pad; 4]),
        ]
    };
    for op in ["MaxPool", "AveragePool"] {
        check(&on_pictures(6 * 9, |net, x| net.node(op, &[x], "pool", kernel(2, 2, 0))));
        check(&on_pictures(6 * 12, |net, x| net.node(op, &[x], "pool", kernel(3, 2, 1))));
    }
    check(&on_pictures(6 * 12, |net, x| {
        let attributes = [kernel(3, 2, 1), vec![graph::int("count_include_pad", 1)]].concat();
        net.node("AveragePool", &[x], "pool", attributes)
    }));
    check(&on_pictures(6, |net, x| net.node("GlobalAveragePool", &[x], "pool", vec![])));
    for (axes, keep, pixels) in [(&[2i64, 3][..], 0, 6), (&[1], 1, 42), (&[-1], 1, 42), (&[1, 3], 0, 7)] {
        check(&on_pictures(pixels, |net, x| {
            let axes = net.ints("axes", axes);
            net.node("ReduceMean", &[x, &axes], "mean", vec![graph::int("keepdims", keep)])
        }));
    }
}

#[test]
fn axes_and_parts() {
    // 24 numbers as 2×3×4 for each sample.
    let cube = |net: &mut Net, x: &str| {
        let sizes = net.ints("cube_sizes", &[-1, 2, 3, 4]);
        net.node("Reshape", &[x, &sizes], "cube", vec![])
    };
    for perm in [[0, 1, 3, 2], [0, 3, 1, 2], [0, 2, 1, 3], [0, 3, 2, 1]] {
        check(&between(24, 24, |net, x| {
            let x = cube(net, x);
            let x = net.node("Transpose", &[&x], "turned", vec![graph::ints("perm", &perm)]);
            net.node("Flatten", &[&x], "flat", vec![])
        }));
        check(&on_pictures(252, |net, x| net.node("Transpose", &[x], "turned", vec![graph::ints("perm", &perm)])));
    }
    check(&between(24, 24, |net, x| {
        let x = cube(net, x);
        let size = [net.ints("starts", &[1]), net.ints("ends", &[9]), net.ints("axes", &[3])];
        let end = net.node("Slice", &[&x, &size[0], &size[1], &size[2]], "end", vec![]);
        let size = [net.ints("starts2", &[0]), net.ints("ends2", &[-3]), net.ints("axes2", &[3])];
        let front = net.node("Slice", &[&x, &size[0], &size[1], &size[2]], "front", vec![]);
        let x = net.node("Concat", &[&end, &front], "whole", vec![graph::int("axis", 3)]);
        net.node("Flatten", &[&x], "flat", vec![])
    }));
    check(&between(24, 16, |net, x| {
        let x = cube(net, x);
        let places = net.ints("places", &[2, 0, 2, 1]);
        let x = net.node("Gather", &[&x, &places], "rows", vec![graph::int("axis", 2)]);
        let axes = net.ints("one", &[1]);
        let x = net.node("Unsqueeze", &[&x, &axes], "more", vec![]);
        let axes = net.ints("same", &[1]);
        let x = net.node("Squeeze", &[&x, &axes], "less", vec![]);
        let axes = net.ints("mean_axes", &[1]);
        let x = net.node("ReduceMean", &[&x, &axes], "mean", vec![graph::int("keepdims", 0)]);
        net.node("Flatten", &[&x], "flat", vec![])
    }));
    check(&between(24, 8, |net, x| {
        let x = cube(net, x);
        let mut split = graph::node("Split", &[&x], "a");
        split.output = vec!["a".into(), "b".into(), "c".into()];
        split.attribute = vec![graph::int("axis", 2)];
        net.push(split);
        let x = net.node("Mul", &["a", "b"], "ab", vec![]);
        let x = net.node("Sub", &[&x, "c"], "abc", vec![]);
        net.node("Flatten", &[&x], "flat", vec![])
    }));
}

#[test]
fn products_of_computed_matrices() {
    check(&between(24, 8, |net, x| {
        let sizes = [net.ints("left_sizes", &[0, 2, 3, 4]), net.ints("right_sizes", &[0, 2, 4, 3])];
        let left = net.node("Reshape", &[x, &sizes[0]], "left", vec![]);
        let right = net.node("Reshape", &[x, &sizes[1]], "right", vec![]);
        let x = net.node("MatMul", &[&right, &left], "square", vec![]);
        let axes = net.ints("axes", &[2]);
        let x = net.node("ReduceMean", &[&x, &axes], "mean", vec![graph::int("keepdims", 0)]);
        net.node("Flatten", &[&x], "flat", vec![])
    }));
    // A weight that is turned before it is used.
    check(&between(9, 7, |net, x| {
        let w = net.weight("w", &[7, 9], (0.0, 0.4));
        let w = net.node("Transpose", &[&w], "turned", vec![graph::ints("perm", &[1, 0])]);
        net.node("MatMul", &[x, &w], "middle", vec![])
    }));
}
