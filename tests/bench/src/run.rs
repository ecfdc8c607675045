//! A whole run: scenarios of all lanes in interleaved rounds.
#![expect(clippy::print_stdout, reason = "a run says what it does")]

use std::process::ExitCode;

use crate::figures::Lane;
use crate::lane::Syncline;
use crate::place::Place;
use crate::scenario::{self, Load};

/// What a run is to do.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    #[command(flatten)]
    place: Place,
    /// Lanes.
    #[arg(long, value_delimiter = ',', default_value = "direct,dapr")]
    lanes: Vec<String>,
    /// Rates.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    rates: Vec<f64>,
    /// Seconds.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Products.
    #[arg(long, default_value_t = 100_000)]
    products: u32,
}

/// Runs it.
pub async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    for lane in &settings.lanes {
        let lane = if lane == "dapr" { Lane::Dapr } else { Lane::Direct };
        let mut syncline = Syncline::create(&settings.place, lane).await?;
        let mut running = syncline.start().await?;
        let place = &settings.place;
        let figures =
            scenario::import(place, &mut syncline, &mut running, settings.products).await?;
        println!("{lane:?} import {}", serde_json::to_string_pretty(&figures)?);
        for rate in &settings.rates {
            let load = Load { rate: *rate, seconds: (2.0, settings.seconds), seed: 42 };
            let figures = scenario::load(place, &mut syncline, &mut running, &load).await?;
            println!("{lane:?} {rate} {}", serde_json::to_string_pretty(&figures)?);
        }
        running.stop().await?;
    }
    Ok(ExitCode::SUCCESS)
}
