//! 1.8 s in all for verify and get, with a retry on another replica of tenant (ARCHITECTURE.md 5.3).

use std::time::Duration;

use anyhow::ensure;
use fiorino_node_connector::Tuning;
use fiorino_test_support::{Stopwatch, eventually};
use fiorino_wire::{FaultCode, Version};

use crate::rig::{
    Names, Node, Rig, SOON,
    messages::{self, NOTICE},
    tenant::{self, Answer},
};

const KPI: Duration = Duration::from_secs(2);

async fn ask(rig: &Rig, node: &Node) -> (Stopwatch, Vec<crate::rig::Reply>) {
    let messages = [messages::verify(&rig.names, NOTICE), messages::get(Version::V2, &rig.names, NOTICE)];
    let started = Stopwatch::start();
    let replies = futures::future::join_all(messages.map(|message| node.call(&rig.names.station, message))).await;
    (started, replies)
}

#[tokio::test]
async fn a_tenant_that_hangs_is_a_system_error_within_2_s() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().notices = Answer::Never;
    let (started, replies) = ask(&rig, &node).await;
    for reply in replies {
        reply.assert_ko(FaultCode::SystemError, &rig.names.institution);
    }
    assert!(started.within(KPI), "{:?}", started.elapsed());
    assert!(rig.tenant.script().verified.len() >= 2, "a second attempt was made");
    // Nothing is left stuck.
    rig.tenant.script().notices = Answer::AtOnce;
    for reply in ask(&rig, &node).await.1 {
        reply.assert_ok();
    }
}

#[tokio::test]
async fn a_tenant_that_is_gone_is_a_system_error_within_2_s() {
    let (mut rig, node) = Rig::with_node().await;
    rig.tenant.stop().await;
    let (started, replies) = ask(&rig, &node).await;
    for reply in replies {
        reply.assert_ko(FaultCode::SystemError, &rig.names.institution);
    }
    assert!(started.within(KPI), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_unknown_institution_and_a_tenant_that_hangs_is_a_system_error_within_2_s() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().resolving = Answer::Never;
    let names = Names { institution: "99999999990".into(), ..rig.names.clone() };
    let started = Stopwatch::start();
    let reply = node.call(&names.station, messages::verify(&names, NOTICE)).await;
    reply.assert_ko(FaultCode::SystemError, &names.institution);
    assert!(started.within(KPI), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_second_attempt_goes_to_another_replica() {
    let rig = Rig::start().await;
    let second = tenant::start(&rig.mesh, &rig.names).await;
    let mut options = rig.options("node-connector-0");
    options.tenant_endpoints.push(second.endpoint());
    let node = Node::start(options, Tuning::default()).await;
    node.ready().await;
    // Both are connected.
    eventually(SOON, async || {
        ask(&rig, &node).await;
        ensure!(!rig.tenant.script().verified.is_empty() && !second.script().verified.is_empty(), "one is never asked");
        Ok(())
    })
    .await
    .unwrap();
    for hanging in [&rig.tenant, &second] {
        hanging.script().notices = Answer::Never;
        for _ in 0..3 {
            let (started, replies) = ask(&rig, &node).await;
            for reply in replies {
                reply.assert_ok();
            }
            assert!(started.within(KPI), "{:?}", started.elapsed());
        }
        hanging.script().notices = Answer::AtOnce;
    }
}

#[tokio::test]
async fn a_slow_tenant_is_waited_for_until_the_deadline() {
    let (rig, node) = Rig::with_node().await;
    rig.tenant.script().notices = Answer::After(Duration::from_millis(600));
    for reply in ask(&rig, &node).await.1 {
        reply.assert_ok();
    }
}
