//! How fast a training step is: `cargo run --release -p visavis-autograd --example step -- --model FILE --batch 32
//! --threads 2 --steps 10`. Runs forward, backward and AdamW on every parameter, and prints a line that
//! `loadtests/peers/torch_step.py` sets beside the same step in PyTorch.

#![expect(clippy::print_stdout, reason = "its output is what it is run for")]

use std::{error::Error, fs, time::Instant};

use visavis_autograd::{Network, Norm, Options, Parameter, Pass, Trainable};

struct Arguments {
    model: String,
    batch: usize,
    threads: usize,
    steps: usize,
    norm: Norm,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut found = Arguments { model: String::new(), batch: 32, threads: 2, steps: 5, norm: Norm::Batch };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--model" => found.model = value()?,
            "--batch" => found.batch = value()?.parse()?,
            "--threads" => found.threads = value()?.parse()?,
            "--steps" => found.steps = value()?.parse()?,
            "--frozen" => found.norm = Norm::Frozen,
            _ => return Err(format!("{word} is not known").into()),
        }
    }
    Ok(found)
}

/// Running means of gradients and of their squares.
struct Moments(Vec<f32>, Vec<f32>);

fn adamw(parameter: &mut Parameter, moments: &mut Moments, step: i32) {
    let (first, second) = (1.0 / (1.0 - 0.9f32.powi(step)), 1.0 / (1.0 - 0.999f32.powi(step)));
    let gradients = parameter.gradient.iter().zip(&mut moments.0).zip(&mut moments.1);
    for (value, ((g, m), v)) in parameter.value.iter_mut().zip(gradients) {
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        *value -= 1e-4 * (5e-4 * *value + *m * first / ((*v * second).sqrt() + 1e-8));
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let given = arguments()?;
    let model = onnx::decode(&fs::read(&given.model)?)?;
    let options = Options { trainable: Trainable::All, norm: given.norm, threads: given.threads };
    let mut network = Network::new(&model, &options)?;
    drop(model);
    let mut moments: Vec<Moments> =
        network.parameters().iter().map(|p| Moments(vec![0.0; p.value.len()], vec![0.0; p.value.len()])).collect();
    let len = network.input().len() * given.batch;
    let mut state = 99u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let batch: Vec<f32> = (0..len).map(|_| next()).collect();
    let weights: Vec<f32> = (0..network.dim() * given.batch).map(|_| next() / given.batch as f32).collect();
    let mut times = Vec::new();
    for step in 1..=given.steps + 1 {
        let begin = Instant::now();
        network.zero_gradients();
        network.forward(&batch, given.batch, Pass::Training { seed: step as u64 })?;
        let forward = begin.elapsed().as_secs_f64();
        network.backward(&weights)?;
        let backward = begin.elapsed().as_secs_f64() - forward;
        for (parameter, moments) in network.parameters().iter_mut().zip(&mut moments) {
            adamw(parameter, moments, step as i32);
        }
        times.push((begin.elapsed().as_secs_f64(), forward, backward));
    }
    // The first step pays for memory.
    times.remove(0);
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (median, forward, backward) = times[times.len() / 2];
    println!(
        "engine=visavis images_per_s={:.2} median_ms={:.0} forward_ms={:.0} backward_ms={:.0} peak_mib={} stated_mib={}",
        given.batch as f64 / median,
        median * 1e3,
        forward * 1e3,
        backward * 1e3,
        peak_mib(),
        network.memory(given.batch) >> 20,
    );
    Ok(())
}

/// The most memory this process had at once.
fn peak_mib() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) / 1024
}
