//! A metric's last value as it is kept and shown.

use opentelemetry_proto::tonic::metrics::v1::{self as otlp, metric::Data, number_data_point};
use serde::{Deserialize, Serialize};

use crate::span::{Attributes, attributes, text};

/// The last value of one series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MetricPoint {
    /// `service.name` of the resource.
    pub service: String,
    /// `service.instance.id` of the resource: tells replicas apart.
    pub instance: String,
    /// Every attribute of the resource.
    pub resource: Attributes,
    /// Name of the instrument.
    pub name: String,
    /// Unit of the instrument.
    pub unit: String,
    /// Attributes of the series.
    pub attributes: Attributes,
    /// When it was collected, in nanoseconds since 1970.
    pub unix_ns: u64,
    /// The value.
    pub value: Value,
}

/// A value of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A gauge or counter.
    Number(f64),
    /// A histogram.
    Histogram {
        /// Values recorded.
        count: u64,
        /// Their sum.
        sum: f64,
        /// Upper bounds of the buckets.
        bounds: Vec<f64>,
    },
}

/// Every series of an export request.
pub(crate) fn points(resources: Vec<otlp::ResourceMetrics>) -> impl Iterator<Item = MetricPoint> {
    resources.into_iter().flat_map(|resource| {
        let of = attributes(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
        let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        metrics.flat_map(move |metric| of_metric(&of, metric))
    })
}

fn of_metric(resource: &Attributes, metric: otlp::Metric) -> Vec<MetricPoint> {
    let base = MetricPoint {
        service: text(resource, "service.name"),
        instance: text(resource, "service.instance.id"),
        resource: resource.clone(),
        name: metric.name,
        unit: metric.unit,
        attributes: Attributes::new(),
        unix_ns: 0,
        value: Value::Number(0.0),
    };
    let number = |point: otlp::NumberDataPoint| MetricPoint {
        attributes: attributes(point.attributes),
        unix_ns: point.time_unix_nano,
        value: Value::Number(as_float(point.value)),
        ..base.clone()
    };
    let histogram = |point: otlp::HistogramDataPoint| MetricPoint {
        attributes: attributes(point.attributes),
        unix_ns: point.time_unix_nano,
        value: Value::Histogram {
            count: point.count,
            sum: point.sum.unwrap_or_default(),
            bounds: point.explicit_bounds,
        },
        ..base.clone()
    };
    match metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.into_iter().map(number).collect(),
        Some(Data::Sum(sum)) => sum.data_points.into_iter().map(number).collect(),
        Some(Data::Histogram(histograms)) => histograms.data_points.into_iter().map(histogram).collect(),
        // Nothing of ours sends these.
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => Vec::new(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to people and compared by tests, never summed")]
fn as_float(value: Option<number_data_point::Value>) -> f64 {
    match value {
        Some(number_data_point::Value::AsDouble(value)) => value,
        Some(number_data_point::Value::AsInt(value)) => value as f64,
        None => 0.0,
    }
}
