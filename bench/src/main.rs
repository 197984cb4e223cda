//! `bench`: benchmarks ResuLLM and its alternatives on one machine.
//!
//! Load generator (`bench load`), mock provider (`bench provider`) and runner (`bench run`) are one program,
//! so that a benchmark needs nothing else. Each runs in its own process, so that CPU time is attributed
//! correctly.

mod bare;
mod histogram;
mod hold;
mod load;
mod process;
mod provider;
mod run;
mod wire;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn fault(text: impl Into<String>) -> Box<dyn Error + Send + Sync> {
    text.into().into()
}

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures LLM gateways on one machine")]
enum Command {
    /// Mock provider that counts the requests and tokens it serves
    Provider(provider::Args),
    /// Load generator: sends requests, checks the responses, prints rates and latencies
    Load(load::Args),
    /// Holds idle streams open and measures the memory of each
    Hold(hold::Args),
    /// A bare pingora-proxy without filters, as a baseline
    Bare(bare::Args),
    /// Runs the whole benchmark and writes `RESULTS.md`
    Run(run::Args),
    /// Measures one tenant's latency while another tenant's calls are refused
    Refused(run::refused::Args),
    /// Prints the report for the raw results in a file (`results.json`)
    Report {
        file: PathBuf,
        /// File for the chart, as SVG
        #[arg(long)]
        svg: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match execute(Command::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Outcome<ExitCode> {
    match command {
        Command::Provider(args) => {
            process::raise_descriptors();
            provider::serve(&args)?;
        }
        Command::Bare(args) => {
            process::raise_descriptors();
            bare::serve(&args)?;
        }
        Command::Run(args) => {
            if !run::run(&args)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Refused(args) => {
            if !run::refused::run(&args)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Report { file, svg } => run::report(&file, svg.as_deref())?,
        Command::Load(args) => {
            let report = load::run(&args)?;
            match args.json {
                true => println!("{}", serde_json::to_string(&report)?),
                false => report.print(),
            }
            if report.errors > 0 {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Hold(args) => {
            let report = hold::run(&args)?;
            match args.json {
                true => println!("{}", serde_json::to_string(&report)?),
                false => report.print(),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
