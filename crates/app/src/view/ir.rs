//! The outputs of every stage in words: what `translate --to ir` and the admin port show.

use pipeline::{Explanation, Pipeline};
use serde_json::{Value, json};

/// Outputs whose unit mentions `text`, of one stage or (empty) of all.
pub(crate) fn stages(pipeline: &Pipeline, stage: &str, text: &str) -> Value {
    let outputs: Vec<Value> = pipeline.explain(stage, text).iter().map(explanation).collect();
    json!({ "outputs": outputs, "work": work(pipeline) })
}

fn explanation(explanation: &Explanation) -> Value {
    json!({
        "stage": explanation.stage,
        "unit": explanation.unit,
        "output": explanation.output,
        "reads": explanation.reads,
    })
}

/// Units run and outputs changed since the start, by stage.
pub(crate) fn work(pipeline: &Pipeline) -> Value {
    let mut stages = serde_json::Map::new();
    for (stage, counters) in pipeline.counters() {
        stages.insert(
            stage.to_owned(),
            json!({ "recomputed": counters.recomputed, "changed": counters.changed }),
        );
    }
    Value::Object(stages)
}
