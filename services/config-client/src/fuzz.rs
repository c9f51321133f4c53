//! The reader of the stream, which nothing else needs to see: for the fuzz targets (docs/fuzzing.md).

use fiorino_proto::config::v1::StreamResponse;

use crate::{holding::Holding, projection::Projection};

/// Takes messages as a replica does and begins again after each that cannot be used: what is refused and what is in use at the end.
pub fn receive<P: Projection>(projection: P, messages: impl IntoIterator<Item = StreamResponse>) -> (usize, usize) {
    let mut holding = Holding::new(projection, &[]);
    for message in messages {
        let (up_to_seq, store_id) = (message.up_to_seq, message.store_id.clone());
        match holding.receive(message) {
            Ok(true) => debug_assert_eq!(holding.known(), (store_id, up_to_seq)),
            Ok(false) => {}
            Err(_) => {
                holding.abandon();
                holding.distrust();
            }
        }
        let _view = holding.view();
    }
    (holding.state().nacks().count(), holding.state().items().len())
}
