//! Each form that is quantised, against its float self.

use onnx::{
    graph::{int, ints, node},
    proto::{NodeProto, TensorProto},
    tensor::f32_tensor,
};

use crate::rig::{CHANNELS, SIDE, conv, count, engine, model, numbers, output, quantised};

/// Root of the mean squared error over that of the result itself. 8 bits give 1 to 3 % here; a value in wrong steps
/// gives many times that.
const NEAR: f64 = 0.05;

struct Net(Vec<NodeProto>, Vec<TensorProto>);

impl Net {
    fn new() -> Self {
        Self(Vec::new(), Vec::new())
    }

    fn conv(&mut self, x: &str, y: &str, shape: [i64; 3], group: i64) -> &mut Self {
        let (n, constants) = conv(x, y, shape, group);
        self.0.push(n);
        self.1.extend(constants);
        self
    }

    fn prelu(&mut self, x: &str, y: &str, slopes: &[f32]) -> &mut Self {
        let a = format!("{y}_a");
        self.0.push(node("PRelu", &[x, &a], y));
        self.1.push(f32_tensor(&a, &[slopes.len() as i64, 1, 1], slopes));
        self
    }

    fn node(&mut self, n: NodeProto) -> &mut Self {
        self.0.push(n);
        self
    }

    fn model(&self, output: &[i64]) -> Vec<u8> {
        model(self.0.clone(), self.1.clone(), output, 11)
    }
}

/// Error of 8 bits against float, on pictures that were not calibrated with.
fn error(float: &[u8], narrow: &[u8]) -> f64 {
    let (mut a, mut b) = (engine(float).unwrap(), engine(narrow).unwrap());
    let (mut wrong, mut all) = (0.0, 0.0);
    for i in 100..104 {
        let (a, b) = (output(&mut a, i), output(&mut b, i));
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(&b) {
            wrong += f64::from(a - b).powi(2);
            all += f64::from(*a).powi(2);
        }
    }
    assert!(all > 0.0, "the graph computes something");
    (wrong / all).sqrt()
}

fn image(channels: i64) -> [i64; 4] {
    [1, channels, SIDE as i64, SIDE as i64]
}

#[test]
fn convolutions_with_slopes_stay_near_and_compare_their_halves_in_8_bits() {
    let mut net = Net::new();
    let slopes = numbers(CHANNELS, 0.2).iter().map(|a| 0.6 * a).collect::<Vec<_>>();
    net.conv("x", "c", [8, 8, 1], 1).prelu("c", "p", &slopes).conv("p", "d", [8, 1, 3], 8).prelu("d", "q", &slopes);
    net.conv("q", "y", [16, 8, 1], 1);
    let float = net.model(&image(16));
    let narrow = quantised(&float, 8).unwrap();
    assert_eq!(["Max", "PRelu", "Relu", "Conv"].map(|op| count(&narrow, op)), [2, 0, 0, 5]);
    let off = error(&float, &narrow);
    assert!(off < NEAR, "{off}");
}

#[test]
fn slopes_above_one_are_computed_in_float() {
    let mut net = Net::new();
    net.conv("x", "c", [8, 8, 1], 1).prelu("c", "p", &[0.1, 1.5, 0.3, 0.2, 2.0, 0.0, -0.4, 1.0]);
    net.conv("p", "y", [8, 8, 1], 1);
    let float = net.model(&image(8));
    let narrow = quantised(&float, 8).unwrap();
    assert_eq!(["Max", "PRelu", "Relu"].map(|op| count(&narrow, op)), [0, 0, 1]);
    let off = error(&float, &narrow);
    assert!(off < NEAR, "{off}");
}

#[test]
fn relu_sums_and_poolings_stay_narrow_between_convolutions() {
    let mut net = Net::new();
    net.conv("x", "c", [8, 8, 3], 1).node(node("Relu", &["c"], "r"));
    net.conv("r", "d", [8, 8, 1], 1).node(node("Add", &["r", "d"], "s")).node(node("Relu", &["s"], "t"));
    let mut pool = node("MaxPool", &["t"], "m");
    pool.attribute = vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])];
    net.node(pool).conv("m", "y", [4, 8, 1], 1);
    let float = net.model(&[1, 4, SIDE as i64 / 2, SIDE as i64 / 2]);
    let narrow = quantised(&float, 8).unwrap();
    assert_eq!(["Relu", "MaxPool", "Add"].map(|op| count(&narrow, op)), [0, 1, 1]);
    let off = error(&float, &narrow);
    assert!(off < NEAR, "{off}");
}

#[test]
fn an_embedding_leaves_as_floats_through_a_product_of_8_bit_factors() {
    let mut net = Net::new();
    net.conv("x", "c", [8, 8, 1], 1).node(node("Relu", &["c"], "r")).node(node("Flatten", &["r"], "f"));
    let columns = CHANNELS * SIDE * SIDE;
    net.1.push(f32_tensor("g", &[16, columns as i64], &numbers(16 * columns, 0.9)));
    let mut gemm = node("Gemm", &["f", "g"], "y");
    gemm.attribute.push(int("transB", 1));
    net.node(gemm);
    let float = net.model(&[1, 16]);
    let narrow = quantised(&float, 8).unwrap();
    assert!(narrow.len() < float.len() / 2, "{} {}", narrow.len(), float.len());
    let off = error(&float, &narrow);
    assert!(off < NEAR, "{off}");
}

#[test]
fn what_stays_float_reads_and_is_read_across_the_border() {
    let mut net = Net::new();
    net.conv("x", "c", [8, 8, 1], 1).node(node("Sigmoid", &["c"], "s")).conv("s", "d", [8, 8, 1], 1);
    // Both the 8-bit value and a float one made of it are read, and the groups of two channels stay float.
    net.node(node("Mul", &["d", "s"], "m")).conv("m", "y", [8, 2, 3], 4);
    let float = net.model(&image(8));
    let narrow = quantised(&float, 8).unwrap();
    let off = error(&float, &narrow);
    assert!(off < NEAR, "{off}");
}

#[test]
fn same_model_and_samples_give_the_same_bytes_and_others_do_not() {
    let mut net = Net::new();
    net.conv("x", "c", [8, 8, 1], 1).node(node("Relu", &["c"], "r")).conv("r", "y", [8, 8, 1], 1);
    let float = net.model(&image(8));
    let narrow = quantised(&float, 4).unwrap();
    assert!(narrow == quantised(&float, 4).unwrap());
    assert!(narrow != quantised(&float, 1).unwrap());
}
