//! Who may call what: every method, with every name of the mesh.

use std::collections::BTreeSet;

use fiorino_kit::rpc;
use fiorino_tenant::ALLOWED;
use fiorino_test_support::certs::MESH as NAMES;
use tonic::{Code, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::fixture::{Tenant, mesh};

/// Services of other processes.
const ELSEWHERE: &[&str] = &["/fiorino.payments.v1.ParkedMessages/", "/fiorino.payments.v1.Payments/"];

/// An empty request; what matters is whether the caller got in.
async fn call(channel: rpc::Channel, method: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path: PathAndQuery = method.parse().unwrap();
    grpc.unary::<(), (), _>(tonic::Request::new(()), path, ProstCodec::default()).await.map(drop)
}

#[test]
fn every_method_of_the_process_is_listed_and_nothing_else() {
    let ours = |method: &String| !ELSEWHERE.iter().any(|service| method.starts_with(service));
    let methods: BTreeSet<String> =
        rpc::every_method(fiorino_proto::DESCRIPTORS).unwrap().into_iter().filter(ours).collect();
    let listed: BTreeSet<String> = ALLOWED.iter().map(|allow| allow.method.to_owned()).collect();
    assert_eq!(listed, methods);
}

#[tokio::test]
async fn every_method_refuses_every_name_that_is_not_listed() {
    let tenant = Tenant::start().await;
    mesh().issue("stranger").unwrap();
    for name in NAMES.into_iter().chain(["stranger"]) {
        let channel = tenant.replica.channel(name);
        for allow in ALLOWED {
            let status = call(channel.clone(), allow.method).await.err().map(|status| status.code());
            let allowed = allow.callers.contains(&name);
            assert_eq!(status != Some(Code::PermissionDenied), allowed, "{name} calls {}: {status:?}", allow.method);
            assert_ne!(status, Some(Code::Unimplemented), "{} is not served", allow.method);
            assert_ne!(status, Some(Code::Unavailable), "{} is not served", allow.method);
        }
    }
}
