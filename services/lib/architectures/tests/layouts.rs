//! Parameter counts as published, and what every graph promises to whoever runs it. That each runs in ONNX Runtime is
//! seen in tests/accuracy.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use onnx::{Dim, inputs, outputs};
use visavis_architectures::{Architecture, ArchitectureError, Options, build, parameters};

fn count(architecture: Architecture, dim: Option<usize>) -> usize {
    parameters(&build(architecture, &Options { dim, ..Options::default() }).unwrap())
}

#[test]
fn mobilefacenet_has_the_million_of_its_table() {
    // Rows of table 1 with their norms and slopes: stem 1,920 + 768, stages 92,160 + 53,248 + 417,792 + 139,008 +
    // 139,264, the wide layer 67,072, the global one 26,112, the embedding 65,792.
    assert_eq!(count(Architecture::MobileFaceNet, None), 1_003_136);
    // 512 values instead of 128: 384 rows of 512, and a scale and a shift each.
    assert_eq!(count(Architecture::MobileFaceNet, Some(512)), 1_003_136 + 384 * 514);
}

#[test]
fn iresnets_have_24_and_43_point_6_million() {
    assert_eq!(count(Architecture::IResNet18, None), 24_025_600);
    assert_eq!(count(Architecture::IResNet50, None), 43_590_848);
}

#[test]
#[ignore = "a model of 261 MB in memory: cargo test -p visavis-architectures -- --ignored"]
fn iresnet100_has_65_point_2_million() {
    assert_eq!(count(Architecture::IResNet100, None), 65_156_160);
}

/// The published count less what patches of 8, no class token and another last layer change.
fn from_published(published: usize, width: usize, dim: usize) -> usize {
    let patches = (16 * 16 - 8 * 8) * 3 * width;
    let class_token = 2 * width;
    published - patches - class_token - 1000 * (width + 1) + dim * (width + 1)
}

#[test]
fn vits_are_the_published_ones_but_for_their_two_ends() {
    assert_eq!(count(Architecture::VitT, None), from_published(5_717_416, 192, 512));
    assert_eq!(count(Architecture::VitS, Some(128)), from_published(22_050_664, 384, 128));
}

#[test]
#[ignore = "a model of 343 MB in memory: cargo test -p visavis-architectures -- --ignored"]
fn vit_b_is_the_published_one_but_for_its_two_ends() {
    assert_eq!(count(Architecture::VitB, None), from_published(86_567_656, 768, 512));
}

#[test]
fn a_seed_decides_on_every_weight_and_the_batch_is_free() {
    let make = |seed| build(Architecture::MobileFaceNet, &Options { seed, ..Options::default() }).unwrap();
    let bytes = onnx::encode(&make(3));
    assert!(bytes == onnx::encode(&make(3)) && bytes != onnx::encode(&make(4)));
    let model = onnx::decode(&bytes).unwrap();
    let (i, o) = (inputs(&model), outputs(&model));
    let n = || Dim::Symbolic("N".to_owned());
    assert_eq!(i[0].dims, [n(), Dim::Fixed(3), Dim::Fixed(112), Dim::Fixed(112)]);
    assert_eq!((i.len(), o.len(), &o[0].dims), (1, 1, &vec![n(), Dim::Fixed(128)]));
    let dropped = |p: f32| {
        let model = build(Architecture::MobileFaceNet, &Options { dropout: p, ..Options::default() }).unwrap();
        model.graph.unwrap().node.iter().filter(|n| n.op_type() == "Dropout").count()
    };
    assert_eq!((dropped(0.3), dropped(0.0)), (1, 0));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let with = |o: Options| build(Architecture::VitT, &o).unwrap_err();
    assert_eq!(with(Options { dim: Some(0), ..Options::default() }), ArchitectureError::Dim(0));
    assert_eq!(with(Options { dropout: 1.0, ..Options::default() }), ArchitectureError::Dropout(1.0));
    assert!(with(Options { dropout: f32::NAN, ..Options::default() }).to_string().contains("share"));
    let said = "resnet".parse::<Architecture>().unwrap_err().to_string();
    assert!(said.contains("resnet") && said.contains("iresnet100"), "{said}");
    for a in Architecture::ALL {
        assert_eq!(a.name().parse(), Ok(a));
    }
}
