//! Who may call what: mTLS and the allow-list.

use std::{collections::BTreeSet, sync::atomic::Ordering};

use fiorino_kit::{
    crypto,
    rpc::{self, every_method},
    tls::Identity,
};
use fiorino_proto::payments::v1::{ListPaymentsRequest, payments_client::PaymentsClient};
use fiorino_test_support::certs::{Leaf, MESH, Mesh, Usage};
use http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::mesh::{ALLOW, ask, channel, identity, options, start};

/// Calls any method by its name with an empty message.
async fn call(channel: &rpc::Channel, method: &str) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path: PathAndQuery = method.parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(Request::new(()), path, codec).await.map(drop).err().unwrap_or_else(|| tonic::Status::ok(""))
}

#[tokio::test]
async fn the_service_learns_who_calls_and_for_whom() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let as_self = channel(&mesh, "node-connector", &[replica.address]);
    let payment = ask(&as_self, "who").await.unwrap().into_inner().payment.unwrap();
    assert_eq!((payment.issuer.as_str(), payment.client_reference.as_str()), ("node-connector", "node-connector"));

    let for_somebody = as_self.with_actor("operator:anna").unwrap();
    let payment = ask(&for_somebody, "who").await.unwrap().into_inner().payment.unwrap();
    assert_eq!((payment.issuer.as_str(), payment.client_reference.as_str()), ("node-connector", "operator:anna"));
    assert!(as_self.with_actor("no\nheader").is_err());
}

#[tokio::test]
async fn every_method_refuses_every_caller_that_is_not_listed() {
    let mesh = Mesh::new().unwrap();
    mesh.issue("stranger").unwrap();
    let replica = start(&mesh).await;
    let methods = every_method(fiorino_proto::DESCRIPTORS).unwrap();
    assert!(methods.len() > 10 && methods.iter().all(|method| method.starts_with("/fiorino.")), "{methods:?}");
    let mut refused = 0;
    for caller in MESH.iter().chain(&["stranger"]) {
        let channel = channel(&mesh, caller, &[replica.address]);
        for method in &methods {
            if ALLOW.iter().any(|allow| allow.method == method && allow.callers.contains(caller)) {
                continue;
            }
            let status = call(&channel, method).await;
            assert_eq!(status.code(), Code::PermissionDenied, "{caller} {method}: {status}");
            assert!(status.message().contains(caller) && status.message().contains(method), "{status}");
            refused += 1;
        }
    }
    assert_eq!(refused, (MESH.len() + 1) * methods.len() - 3);
    assert_eq!(replica.seen.calls.load(Ordering::SeqCst), 0, "a refused call must not reach the service");
}

#[tokio::test]
async fn a_method_without_an_entry_is_refused_even_if_the_service_has_it() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let channel = channel(&mesh, "dev", &[replica.address]);
    assert!(ask(&channel, "who").await.is_ok());
    let listed = PaymentsClient::new(channel).list_payments(ListPaymentsRequest::default()).await;
    assert_eq!(listed.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(replica.seen.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_certificate_without_a_name_is_nobody() {
    let mesh = Mesh::new().unwrap();
    let leaf = Leaf { common_name: "dev", organisation: None, names: &["127.0.0.1"], usages: &[Usage::Client] };
    mesh.authority().issue_into(mesh.dir(), "nameless", &leaf).unwrap();
    crypto::install_ring();
    let error = Identity::load(&options(&mesh.identity("nameless"))).unwrap_err();
    assert!(error.to_string().contains("nameless.crt"), "{error}");
}

#[tokio::test]
async fn another_authority_reaches_nobody() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let foreign = Mesh::new().unwrap();
    // Trusts the right authority, but shows a certificate of another one.
    let mut files = options(&foreign.identity("dev"));
    files.tls_ca = mesh.identity("dev").ca;
    crypto::install_ring();
    let intruder = Identity::load(&files).unwrap();
    let channel = rpc::connect(&[format!("https://{}", replica.address)], "tenant", &intruder, "dev").unwrap();
    assert_eq!(ask(&channel, "who").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(replica.seen.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_server_must_prove_the_name_that_was_asked_for() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let endpoints = [format!("https://{}", replica.address)];
    let channel = rpc::connect(&endpoints, "reporting", &identity(&mesh, "dev"), "dev").unwrap();
    let status = ask(&channel, "who").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("reporting") && status.message().contains("certificate"), "{status}");
}

#[tokio::test]
async fn a_client_without_a_certificate_is_not_served() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let ca = std::fs::read_to_string(mesh.identity("dev").ca).unwrap();
    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(ca))
        .domain_name("tenant");
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{}", replica.address)).unwrap();
    let refused = match endpoint.tls_config(tls).unwrap().connect().await {
        Ok(channel) => HealthClient::new(channel).check(HealthCheckRequest::default()).await.is_err(),
        Err(_) => true,
    };
    assert!(refused, "a client without a certificate must not even learn the health");
}

#[tokio::test]
async fn health_is_for_the_mesh_and_tells_each_service() {
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let mut client = HealthClient::new(channel(&mesh, "reporting", &[replica.address]));
    for service in ["", "fiorino.payments.v1.Payments", "fiorino.config.v1.ConfigStream"] {
        let health = client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = client.check(HealthCheckRequest { service: "nobody".to_owned() }).await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_is_for_the_developer() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let mesh = Mesh::new().unwrap();
    let replica = start(&mesh).await;
    let ask = async |caller: &str| {
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel(&mesh, caller, &[replica.address]));
        let mut answers = client.server_reflection_info(futures::stream::iter([list])).await?.into_inner();
        Ok::<_, tonic::Status>(answers.message().await?.unwrap().message_response.unwrap())
    };
    let MessageResponse::ListServicesResponse(services) = ask("dev").await.unwrap() else { panic!("no list") };
    let names: BTreeSet<_> = services.service.into_iter().map(|service| service.name).collect();
    assert!(names.contains("fiorino.payments.v1.Payments"), "{names:?}");
    assert_eq!(ask("operator").await.unwrap_err().code(), Code::PermissionDenied);
}
