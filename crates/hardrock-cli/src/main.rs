//! The `hardrock` command line: parses, runs one command, turns its outcome into an exit code.

mod args;
mod commands;
mod progress;
mod render;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // `--help` and `--version` are answers, not errors. A closed pipe is not ours to report.
            let _ = e.print();
            return ExitCode::from(if e.use_stderr() { 2 } else { 0 });
        }
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .with_env_filter(tracing_subscriber::EnvFilter::new(match cli.globals.verbose {
            0 => "warn",
            1 => "info",
            _ => "debug",
        }))
        .init();
    match commands::run(cli.command, &cli.globals) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            render::error(&error, cli.globals.json);
            ExitCode::from(error.exit_code())
        }
    }
}
