//! One class of calls takes nothing from the other, and what is too much is answered at once.

use std::time::Duration;

use anyhow::ensure;
use fiorino_node_connector::{Limits, Tuning};
use fiorino_test_support::{Stopwatch, eventually};
use fiorino_wire::FaultCode;
use futures::future::join_all;

use crate::rig::{
    Names, Node, Rig, SOON,
    messages::{self, NOTICE, Receipt},
    tenant::Answer,
};

const AT_ONCE: Duration = Duration::from_millis(500);

/// A replica with room for two calls of each class.
async fn narrow(rig: &Rig) -> Node {
    let limits = Limits { notices: 2, receipts: 2, ..Limits::default() };
    let node = Node::start(rig.options("node-connector-0"), Tuning { limits, ..Tuning::default() }).await;
    node.ready().await;
    node
}

async fn timed<T>(work: impl Future<Output = T>) -> (Stopwatch, T) {
    let started = Stopwatch::start();
    let done = work.await;
    (started, done)
}

#[tokio::test]
async fn verify_that_is_stuck_leaves_receipts_alone() {
    let rig = Rig::start().await;
    let node = narrow(&rig).await;
    rig.tenant.script().notices = Answer::Never;
    let verify = || node.call(&rig.names.station, messages::verify(&rig.names, NOTICE));
    let stuck = join_all([verify(), verify()]);
    let others = async {
        eventually(SOON, async || {
            ensure!(!rig.tenant.script().verified.is_empty(), "nothing is stuck yet");
            Ok(())
        })
        .await
        .unwrap();
        let (started, reply) = timed(verify()).await;
        reply.assert_ko(FaultCode::SystemError, &rig.names.institution);
        assert!(started.within(AT_ONCE), "{:?}", started.elapsed());
        let (started, reply) = timed(node.call(&rig.names.station, Receipt::new(&rig.names, "r1").write())).await;
        reply.assert_ok();
        assert!(started.within(AT_ONCE), "{:?}", started.elapsed());
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    for reply in stuck {
        reply.assert_ko(FaultCode::SystemError, &rig.names.institution);
    }
}

#[tokio::test]
async fn receipts_that_are_stuck_leave_verify_alone() {
    let rig = Rig::start().await;
    let node = narrow(&rig).await;
    rig.tenant.script().resolving = Answer::Never;
    let names = Names { institution: "99999999990".into(), ..rig.names.clone() };
    let unknown =
        |id: &str| node.call(&names.station, Receipt { names: names.clone(), ..Receipt::new(&names, id) }.write());
    let stuck = join_all([unknown("r1"), unknown("r2")]);
    let others = async {
        eventually(SOON, async || {
            ensure!(rig.tenant.script().asked >= 2, "nothing is stuck yet");
            Ok(())
        })
        .await
        .unwrap();
        let (started, reply) = timed(node.call(&rig.names.station, Receipt::new(&rig.names, "r3").write())).await;
        reply.assert_fault(503, "too many receipts");
        assert!(started.within(AT_ONCE), "{:?}", started.elapsed());
        let (started, reply) = timed(node.call(&rig.names.station, messages::verify(&rig.names, NOTICE))).await;
        reply.assert_ok();
        assert!(started.within(AT_ONCE), "{:?}", started.elapsed());
    };
    let (stuck, ()) = tokio::join!(stuck, others);
    for reply in stuck {
        reply.assert_fault(503, "again");
    }
}
