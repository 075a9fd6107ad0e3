//! What the shop services share.
