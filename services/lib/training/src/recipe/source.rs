//! From names, files and settings to a recipe: later ones stand above earlier ones, value by value.

use toml::{Table, Value};

use super::Recipe;
use crate::TrainingError;

/// Recipes that are always there.
pub const NAMES: [&str; 4] = ["from-scratch", "fine-tune-head", "fine-tune-tail", "fine-tune-full"];

const TEXTS: [&str; 4] = [
    include_str!("../../recipes/from-scratch.toml"),
    include_str!("../../recipes/fine-tune-head.toml"),
    include_str!("../../recipes/fine-tune-tail.toml"),
    include_str!("../../recipes/fine-tune-full.toml"),
];

/// Files stand on others at most so deep: none stands on itself.
const DEEPEST: usize = 4;

pub(super) fn named(name: &str, settings: &[String]) -> Result<Recipe, TrainingError> {
    finish(name, table(name, text(name)?, 0)?, settings)
}

pub(super) fn parse(origin: &str, text: &str, settings: &[String]) -> Result<Recipe, TrainingError> {
    finish(origin, table(origin, text, 0)?, settings)
}

fn wrong(origin: &str, reason: impl Into<String>) -> TrainingError {
    TrainingError::Recipe { origin: origin.to_owned(), reason: reason.into() }
}

fn text(name: &str) -> Result<&'static str, TrainingError> {
    let found = NAMES.iter().position(|n| *n == name);
    found
        .map(|i| TEXTS[i])
        .ok_or_else(|| wrong(name, format!("there is no such recipe; there are: {}", NAMES.join(", "))))
}

/// The values of a text on top of those of its base.
fn table(origin: &str, text: &str, depth: usize) -> Result<Table, TrainingError> {
    let mut own: Table = toml::from_str(text).map_err(|e| wrong(origin, e.to_string().trim_end()))?;
    let Some(base) = own.remove("base") else { return Ok(own) };
    let Some(base) = base.as_str().filter(|_| depth < DEEPEST) else {
        return Err(wrong(origin, "base: the name of a recipe"));
    };
    let mut below = table(base, self::text(base)?, depth + 1)?;
    lay_over(&mut below, own);
    Ok(below)
}

fn lay_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => lay_over(under, over),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn finish(origin: &str, mut values: Table, settings: &[String]) -> Result<Recipe, TrainingError> {
    for setting in settings {
        set(&mut values, setting).map_err(|reason| wrong("--set", reason))?;
    }
    // Written out it names the setting as well, on a line of its own.
    let told = |e: toml::de::Error| wrong(origin, e.to_string().trim().replace('\n', " "));
    let recipe: Recipe = Value::Table(values).try_into().map_err(told)?;
    recipe.check()?;
    Ok(recipe)
}

/// `section.key=value`, the value in TOML, or a text without quotes.
fn set(values: &mut Table, setting: &str) -> Result<(), String> {
    let Some((path, text)) = setting.split_once('=') else {
        return Err(format!("`{setting}` is not of the form key=value"));
    };
    let value = match toml::from_str::<Table>(&format!("value = {}", text.trim())) {
        Ok(mut table) => table.remove("value").unwrap_or(Value::Boolean(false)),
        Err(_) => Value::String(text.trim().to_owned()),
    };
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().filter(|k| !k.is_empty()).ok_or_else(|| format!("`{setting}` names no value"))?;
    let mut at = values;
    for key in keys {
        let below = at.entry(key).or_insert_with(|| Value::Table(Table::new()));
        at = below.as_table_mut().ok_or_else(|| format!("`{path}`: {key} is a value, not a section"))?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}
