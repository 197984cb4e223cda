//! `bench`: measures ResuLLM beside what a user would pick instead, on one machine.
//!
//! Generator, provider and runner are one program, so that a measurement needs nothing else; each
//! runs as a process of its own, so that nobody's CPU time is counted as another's.

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
    /// A provider that counts what it serves
    Provider(provider::Args),
    /// Sends requests, checks the answers, prints the figures
    Load(load::Args),
    /// Holds idle streams open and measures what each takes in memory
    Hold(hold::Args),
    /// pingora-proxy without anything in it
    Bare(bare::Args),
    /// Measures everything and writes RESULTS.md
    Run(run::Args),
    /// Measures one tenant's calls while another's are refused
    Refused(run::refused::Args),
    /// Prints the results as the raw rounds in a file make them
    Report {
        file: PathBuf,
        /// Where to write the chart
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
