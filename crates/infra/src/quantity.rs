//! Kubernetes' quantities, as far as memory limits need them.

use serde_json::Value;

/// Bytes that a quantity stands for, rounded down; `None` when it is none or is negative. Numbers stand for
/// themselves, as in Kubernetes.
pub(crate) fn bytes(quantity: &Value) -> Option<u64> {
    let text = match quantity {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number: f64 = number.parse().ok()?;
    let factor: f64 = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => f64::from(1u32 << 10),
        "Mi" => f64::from(1u32 << 20),
        "Gi" => f64::from(1u32 << 30),
        "Ti" => (1u64 << 40) as f64,
        "Pi" => (1u64 << 50) as f64,
        "Ei" => (1u64 << 60) as f64,
        _ => 10f64.powi(suffix.strip_prefix(['e', 'E'])?.parse().ok()?),
    };
    let bytes = number * factor;
    // 2^63: what Kubernetes itself can count.
    (bytes.is_finite() && (0.0..=(1u64 << 63) as f64).contains(&bytes)).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::bytes;

    #[test]
    fn quantities_are_bytes() {
        for (quantity, expected) in [
            (json!("512Mi"), Some(512 << 20)),
            (json!("1.5Gi"), Some(3 << 29)),
            (json!(1024), Some(1024)),
            (json!("1e3"), Some(1000)),
            (json!("1k"), Some(1000)),
            (json!("128974848000m"), Some(128_974_848)),
            (json!("-1"), None),
            (json!("many"), None),
            (json!(null), None),
            (json!("1e400"), None),
        ] {
            assert_eq!(bytes(&quantity), expected, "{quantity}");
        }
    }
}
