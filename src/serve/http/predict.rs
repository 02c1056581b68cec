//! `POST /predict`: predictions of the present teacher for samples. Nothing is kept.

use crate::serve::http::blocking::blocking;
use crate::serve::http::body;
use crate::serve::http::body::Body;
use crate::serve::http::images::Said;
use crate::serve::http::refusal::Refused;
use crate::serve::http::shared::Shared;
use crate::serve::predictor::{MOST_SAMPLES, PredictReply};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sluicebox_core::sample::{Values, values};
use std::sync::Arc;

/// Query parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// `1`: also return the probability of every class.
    #[serde(default)]
    probabilities: u8,
}

/// Answers with the most probable class of each sample.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refused> {
    let Query(wanted) = wanted.map_err(|error| Refused::bad(error.body_text()))?;
    let Some(predictor) = &shared.predictor else {
        return Err(Refused::new(StatusCode::NOT_FOUND, "this job serves no predictions"));
    };
    let Body { block, room: _held, .. } =
        body::read(&shared, &headers, body, Said::default(), MOST_SAMPLES).await?;
    let asked = values(shared.format.dtype, &block.bytes);
    if let Values::F32(values) = &asked
        && let Some(at) = values.iter().position(|value| value.is_nan())
    {
        let sample = at / shared.format.shape.len() + 1;
        let reason = "a value is missing, which is filled in for samples of the stream only";
        return Err(Refused::bad(format!("sample {sample}: {reason}")));
    }
    let answer = predictor.ask(asked).await?;
    let all = wanted.probabilities != 0;
    blocking(move || Json(reply(&answer, &shared.format.classes, all)).into_response()).await
}

/// Returns the reply as JSON.
fn reply(answer: &PredictReply, classes: &[String], all: bool) -> Value {
    let rows = answer.probabilities.chunks_exact(classes.len());
    let predictions = rows.enumerate().map(|(at, row)| {
        if row.iter().any(|probability| !probability.is_finite()) {
            let reason =
                "the network's answer is not finite: the sample has huge values, or training diverged";
            return json!({ "class": null, "index": null, "confidence": null, "reason": reason });
        }
        let likeliest = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
        let (index, confidence) = likeliest.map_or((0, 0.0), |(index, confidence)| (index, *confidence));
        let mut prediction = json!({ "class": classes[index], "index": index, "confidence": confidence });
        if all {
            prediction["probabilities"] = row.into();
        }
        if let Some(agree) = &answer.networks_agree {
            prediction["networks_agree"] = agree[at].into();
        }
        prediction
    });
    json!({ "predictions": predictions.collect::<Vec<_>>(), "teacher_step": answer.teacher_step })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_finite_is_no_class() {
        let classes = ["ant", "bee"].map(String::from);
        let probabilities = vec![f32::NAN, f32::NAN, 0.25, 0.75];
        let answer = PredictReply { probabilities, networks_agree: Some(vec![true, false]), teacher_step: 3 };
        let reply = reply(&answer, &classes, true);
        assert_eq!(reply["predictions"][0]["class"], Value::Null);
        assert!(reply["predictions"][0]["reason"].as_str().unwrap().contains("not finite"));
        assert_eq!(reply["predictions"][1]["class"], "bee");
        assert_eq!(reply["predictions"][1]["networks_agree"], false);
    }
}
