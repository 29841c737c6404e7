//! Metrics as Prometheus reads them.

/// Samples of one moment.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<(String, f64)>);

impl Metrics {
    /// Reads the text form.
    #[must_use]
    pub fn read(text: &str) -> Metrics {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Metrics(samples.collect())
    }

    /// The sum of a metric over all labels that hold `label` (all when empty), such as `kind="HTTPRoute"`.
    #[must_use]
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let of_name = |sample: &&(String, f64)| {
            let (metric, labels) = sample.0.split_once('{').unwrap_or((&sample.0, ""));
            metric == name && labels.contains(label)
        };
        self.0.iter().filter(of_name).map(|(_, value)| value).sum()
    }
}
