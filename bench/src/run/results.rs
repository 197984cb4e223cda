//! Raw results of a run, and their medians.
//!
//! A comparison is computed within each round, and the median is taken over the rounds: a disturbance of the
//! machine in one round affects both sides alike.

use serde::{Deserialize, Serialize};

use super::contender::About;
use super::machine::Machine;
use super::measure::{Idle, Sample};
use super::scenario::Silent;

/// The content of `results.json`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub command: String,
    pub rounds: usize,
    pub seconds: f64,
    pub contenders: Vec<About>,
    pub samples: Vec<Sample>,
    pub idle: Vec<Idle>,
    /// For the 100,000 keys: contender, tokens charged, tokens served.
    pub books_of_many: Vec<(String, u64, u64)>,
    /// Errors and wrong charges, in the order in which they occurred.
    pub troubles: Vec<String>,
}

/// Medians over the rounds of one contender in one scenario. Times are in microseconds, `rate` in requests
/// per second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    pub rate: Option<f64>,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
    pub cpu: Option<f64>,
    pub redis_cpu: Option<f64>,
    pub first_event: Option<f64>,
    pub cpu_to_nginx: Option<f64>,
    pub p50_added: Option<f64>,
    pub first_event_added: Option<f64>,
    pub errors: u64,
}

/// Returns the median of the finite values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

impl Results {
    fn of<'a>(
        &'a self,
        contender: &'a str,
        scenario: &'a str,
    ) -> impl Iterator<Item = &'a Sample> + 'a {
        self.samples
            .iter()
            .filter(move |sample| sample.contender == contender && sample.scenario == scenario)
    }

    pub fn measured(&self, scenario: &str) -> bool {
        self.samples
            .iter()
            .any(|sample| sample.scenario == scenario)
    }

    /// Returns the median over the rounds of `compare`, applied to samples of the same round.
    pub fn compared(
        &self,
        ours: (&str, &str),
        theirs: (&str, &str),
        compare: impl Fn(&Sample, &Sample) -> Option<f64>,
    ) -> Option<f64> {
        let rounds = self.of(ours.0, ours.1).filter_map(|sample| {
            let mut others = self.of(theirs.0, theirs.1);
            compare(sample, others.find(|other| other.round == sample.round)?)
        });
        median(rounds.collect())
    }

    pub fn figures(&self, contender: &str, scenario: &str) -> Figures {
        let middle = |value: &dyn Fn(&Sample) -> Option<f64>| {
            median(self.of(contender, scenario).filter_map(value).collect())
        };
        let ours = (contender, scenario);
        Figures {
            rate: middle(&|sample| Some(sample.load.requests_per_second)),
            p50: middle(&|sample| Some(sample.load.p50)),
            p99: middle(&|sample| Some(sample.load.p99)),
            cpu: middle(&|sample| sample.cpu),
            redis_cpu: middle(&|sample| sample.redis_cpu),
            first_event: middle(&|sample| sample.load.first_event_p50),
            cpu_to_nginx: self.compared(ours, ("nginx", scenario), |ours, nginx| {
                Some(ours.cpu? / nginx.cpu?)
            }),
            p50_added: self.compared(ours, ("direct", scenario), |ours, direct| {
                Some(ours.load.p50 - direct.load.p50)
            }),
            first_event_added: self.compared(ours, ("direct", scenario), |ours, direct| {
                Some(ours.load.first_event_p50? - direct.load.first_event_p50?)
            }),
            errors: self.of(contender, scenario).map(|s| s.load.errors).sum(),
        }
    }

    /// Returns the median memory per idle stream, over rounds in which every stream survived.
    pub fn kb_per_stream(&self, contender: &str, silent: Silent) -> Option<f64> {
        let rounds = self.idle.iter().filter_map(|idle| {
            let held = idle.held.as_ref()?;
            let ours = idle.contender == contender && idle.silent == silent;
            (ours && held.survived == held.streams).then_some(held.kb_per_stream)
        });
        median(rounds.collect())
    }

    /// Returns how many comparisons found a contender's charges exact, and how many there were.
    pub fn exact(&self, contender: &str) -> (usize, usize) {
        let samples = self
            .samples
            .iter()
            .filter(|sample| sample.contender == contender);
        let many = self
            .books_of_many
            .iter()
            .filter(|books| books.0 == contender);
        let books: Vec<(u64, u64)> = samples
            .filter_map(|sample| sample.books)
            .chain(many.map(|books| (books.1, books.2)))
            .collect();
        let exact = books.iter().filter(|(charged, served)| charged == served);
        (exact.count(), books.len())
    }

    /// Names of the contenders that ran.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let running = self
            .contenders
            .iter()
            .filter(|about| about.missing.is_none());
        running.map(|about| about.name.as_str())
    }

    /// Names of the ResuLLM contenders that ran.
    pub fn ours(&self) -> impl Iterator<Item = &str> {
        self.names().filter(|name| name.starts_with("resullm"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Report;

    #[test]
    fn a_median_is_the_middle_or_between_the_middles() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 3.0, 2.0]), Some(2.5));
        assert_eq!(median(vec![f64::NAN, 1.0]), Some(1.0));
    }

    fn sample(round: usize, contender: &str, cpu: f64) -> Sample {
        Sample {
            round,
            contender: contender.to_owned(),
            scenario: "plain-16".to_owned(),
            load: Report::default(),
            cpu: Some(cpu),
            redis_cpu: None,
            books: Some((1, 1)),
        }
    }

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        // The second round ran on a busy machine: everything took 10 times as long.
        let samples = vec![
            sample(0, "nginx", 10.0),
            sample(0, "ours", 20.0),
            sample(1, "nginx", 100.0),
            sample(1, "ours", 200.0),
            sample(2, "ours", 1.0),
        ];
        let results = Results {
            samples,
            ..Results::default()
        };
        let figures = results.figures("ours", "plain-16");
        assert_eq!(figures.cpu_to_nginx, Some(2.0));
        assert_eq!(figures.cpu, Some(20.0));
        assert_eq!(results.exact("ours"), (3, 3));
    }
}
