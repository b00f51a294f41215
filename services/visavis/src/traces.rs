//! Traces of this process: from the configuration to a tracer for the roles and the task that sends what it makes.
//! Called by `up`.

use std::convert::Infallible;

use domain::Timestamp;
use prometheus::Registry;
use runtime::Config;
use trace::{ExportOptions, Exporter, Tracer};

use crate::failure::Failure;
use crate::roles::{Role, Roles};

/// A tracer, and who sends its spans where that is configured.
///
/// # Errors
/// An address or certificates that cannot be used.
pub fn start(
    config: &Config,
    roles: Roles,
    registry: &Registry,
) -> Result<(Tracer, Option<Role<Infallible>>), Failure> {
    let t = &config.telemetry;
    let Some(endpoint) = &t.traces_endpoint else { return Ok((Tracer::default(), None)) };
    let name = match roles {
        Roles::Up => "visavis",
        Roles::Gateway => "visavis-gateway",
        Roles::Worker => "visavis-worker",
        Roles::Trainer => "visavis-trainer",
    };
    let instance = format!("{}-{}", std::process::id(), Timestamp::now().as_millis());
    let options = ExportOptions {
        endpoint: endpoint.clone(),
        ca_file: t.traces_ca_file.clone(),
        share: t.traces_share,
        process: vec![
            ("service.name", name.to_owned()),
            ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id", instance),
        ],
    };
    let (tracer, exporter) = Exporter::new(&options, registry)?;
    let sending = Role::spawn(|stop| async move {
        exporter.run(stop).await;
        Ok(())
    });
    Ok((tracer, Some(sending)))
}
