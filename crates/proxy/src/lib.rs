//! The request plane: route table, predicates, filters, backends, pools
