//! Recipes as a user writes them.

use super::*;

fn set(all: &[&str]) -> Result<Recipe, TrainingError> {
    let all: Vec<String> = all.iter().map(|s| (*s).to_owned()).collect();
    Recipe::named("from-scratch", &all)
}

#[test]
fn every_named_recipe_reads_and_is_whole_when_written() {
    for name in NAMES {
        let recipe = Recipe::named(name, &[]).unwrap();
        assert_eq!(recipe.name, name);
        assert!(!recipe.description.is_empty() && !recipe.augment.is_off(), "{name}");
        assert_eq!(Recipe::parse("again", &recipe.to_toml().unwrap(), &[]).unwrap(), recipe);
    }
    assert_eq!(Recipe::named("fine-tune-head", &[]).unwrap().method, Method::Head);
    assert_eq!(Recipe::named("fine-tune-tail", &[]).unwrap().method, Method::Tail);
}

#[test]
fn the_published_values_are_the_defaults() {
    let r = Recipe::named("from-scratch", &[]).unwrap();
    assert_eq!((r.batch.size, r.optimiser.clip, r.regularise.dropout), (256, 1.0, Some(0.3)));
    assert_eq!((r.loss.kind.margin(), r.loss.scale, r.loss.label_smoothing), (0.5, 64.0, 0.1));
    assert_eq!((LossKind::Cosface.margin(), r.optimiser.betas, r.distill.temperature), (0.35, [0.9, 0.999], 2.0));
    let a = r.augment;
    assert_eq!((a.rotation.range, a.scale.range, a.shift.range), ([-15.0, 15.0], [0.9, 1.1], [-0.1, 0.1]));
    assert_eq!((a.brightness.range, a.contrast.range), ([-0.2, 0.2], [-0.15, 0.15]));
    assert_eq!((a.saturation.range, a.occlusion.range), ([-0.1, 0.1], [0.05, 0.2]));
    assert_eq!((a.noise.range, a.salt_and_pepper.range), ([0.01, 0.05], [0.02, 0.1]));
}

#[test]
fn settings_reach_every_depth_and_keep_their_neighbours() {
    let r = set(&[
        "epochs=3",
        "loss.kind=cosface",
        "augment.noise.probability=1",
        "domain.reduced={ probability = 1.0, range = [32, 32] }",
    ]);
    let r = r.unwrap();
    assert_eq!((r.epochs, r.loss.kind, r.augment.noise.probability), (3.0, LossKind::Cosface, 1.0));
    assert_eq!((r.augment.noise.range, r.domain.reduced.range), ([0.01, 0.05], [32.0, 32.0]));
    let r = Recipe::parse("mine", "base = \"fine-tune-full\"\nname = \"mine\"\n[batch]\nmicro = 8\n", &[]).unwrap();
    assert_eq!((r.name.as_str(), r.batch.micro, r.batch.size), ("mine", 8, 256));
    assert_eq!(r.loss.prototypes, Prototypes::Centres, "from its base");
}

#[test]
fn what_is_wrong_is_named() {
    let said = |all: &[&str]| set(all).unwrap_err().to_string();
    assert!(said(&["optimiser.learning_rat=1"]).contains("learning_rat"));
    assert!(said(&["augment.noise.probability=2"]).contains("noise"));
    assert!(said(&["batch.micro=7"]).contains("batch.size"));
    assert!(said(&["epochs"]).contains("key=value"));
    assert!(said(&["seed.x=1"]).contains("seed"), "{}", said(&["seed.x=1"]));
    assert!(said(&["loss.kind=triplet"]).contains("triplet"));
    assert!(said(&["split.validation=0"]).contains("split"));
    assert!(Recipe::named("best", &[]).unwrap_err().to_string().contains("fine-tune-tail"));
    let own_base = Recipe::parse("loop", "base = \"loop\"", &[]).unwrap_err().to_string();
    assert!(own_base.contains("loop"), "{own_base}");
    assert!(Recipe::parse("x", "epochs = ", &[]).is_err());
}
