//! Changes of request and response headers.

use envoy_api::core::{HeaderValue as Message, HeaderValueOption, header_value_option::HeaderAppendAction};
use ir::route::{HeaderMutations, HeaderValue};

use super::command;

/// Headers to set or add, in their order.
pub(super) fn to_add(mutations: &HeaderMutations) -> Vec<HeaderValueOption> {
    mutations.add.iter().map(option).collect()
}

/// Names of headers to remove.
pub(super) fn to_remove(mutations: &HeaderMutations) -> Vec<String> {
    mutations.remove.iter().map(|name| name.to_string()).collect()
}

fn option(header: &HeaderValue) -> HeaderValueOption {
    let action = if header.append {
        HeaderAppendAction::AppendIfExistsOrAdd
    } else {
        HeaderAppendAction::OverwriteIfExistsOrAdd
    };
    HeaderValueOption {
        header: Some(Message {
            key: header.name.to_string(),
            value: command::escape(&header.value).into_owned(),
            ..Default::default()
        }),
        append_action: action.into(),
        // Envoy drops empty values unless told.
        keep_empty_value: header.value.is_empty(),
        ..Default::default()
    }
}
