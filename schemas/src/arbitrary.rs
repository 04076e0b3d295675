//! Any value of the types whose domain is not all of their fields'.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use crate::{
    id::{Bits, Id, RemoteId},
    observation::{DeliveryId, DeliveryKey},
};

/// Any bytes.
pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    any::<Vec<u8>>().prop_map(Bytes::from)
}

/// Any text.
pub(crate) fn shared() -> impl Strategy<Value = Arc<str>> {
    any::<String>().prop_map(Arc::from)
}

impl<Kind> Arbitrary for Id<Kind> {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with((): ()) -> Self::Strategy {
        "[A-Za-z0-9_-]{1,64}".prop_map(|text| text.parse().expect("the alphabet is an id's")).boxed()
    }
}

impl Arbitrary for RemoteId {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with((): ()) -> Self::Strategy {
        shared().prop_map(RemoteId::new).boxed()
    }
}

impl Arbitrary for Bits {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with((): ()) -> Self::Strategy {
        (0..=Bits::MAX.get()).prop_map(|bits| Bits::new(bits).expect("at most the finest")).boxed()
    }
}

impl Arbitrary for DeliveryKey {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;
    fn arbitrary_with((): ()) -> Self::Strategy {
        any::<DeliveryId>().prop_filter_map("deliveries that can be told apart", |id| id.key()).boxed()
    }
}
