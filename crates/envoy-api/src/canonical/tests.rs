use prost::{Message, Name};

use super::*;
use crate::{
    access_log, any, core, encode, file_access_log, hcm, listener, route,
    well_known::{self, IntoValue, Struct},
};

/// A struct of many members; each call makes new hash maps, so that their orders differ.
fn members() -> Struct {
    well_known::object((0..40).map(|number| {
        let nested =
            well_known::object((0..10).map(|inner| (format!("n{inner}"), f64::from(inner).into_value())));
        (format!("key-{number:02}"), nested.into_value())
    }))
}

#[test]
fn equal_messages_give_equal_bytes() {
    let expected = encode(&members());
    assert_eq!(Struct::decode(expected.as_slice()).unwrap(), members());
    for _ in 0..20 {
        assert_eq!(encode(&members()), expected);
    }
}

#[test]
fn entries_are_in_the_order_of_their_keys() {
    let bytes = encode(&members());
    let mut reader = Reader::default();
    let mut keys = Vec::new();
    while let Some(field) = reader.next(&bytes).unwrap() {
        let (_, key) = entry_key(&bytes[field.payload]).unwrap();
        keys.push(String::from_utf8(key.to_vec()).unwrap());
    }
    assert_eq!(keys.len(), 40);
    assert!(keys.is_sorted());
}

#[test]
fn maps_below_any_and_in_maps_of_any_are_sorted() {
    let build = || {
        let format = core::SubstitutionFormatString {
            format: Some(core::substitution_format_string::Format::JsonFormat(members())),
            ..Default::default()
        };
        let log = file_access_log::FileAccessLog {
            path: "/dev/stdout".to_owned(),
            access_log_format: Some(file_access_log::file_access_log::AccessLogFormat::LogFormat(format)),
        };
        // Packed by hand: the outermost encoding alone has to put everything in order.
        let packed = well_known::Any {
            type_url: file_access_log::FileAccessLog::type_url(),
            value: log.encode_to_vec(),
        };
        let hosts = (0..5).map(|number| route::VirtualHost {
            name: format!("v{number}"),
            typed_per_filter_config: (0..8).map(|inner| (format!("f{inner}"), any(&members()))).collect(),
            ..Default::default()
        });
        let manager = hcm::HttpConnectionManager {
            access_log: vec![access_log::AccessLog {
                config_type: Some(access_log::access_log::ConfigType::TypedConfig(packed)),
                ..Default::default()
            }],
            route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(
                route::RouteConfiguration { virtual_hosts: hosts.collect(), ..Default::default() },
            )),
            ..Default::default()
        };
        let filter = listener::Filter {
            config_type: Some(listener::filter::ConfigType::TypedConfig(any(&manager))),
            ..Default::default()
        };
        listener::Listener {
            filter_chains: vec![listener::FilterChain { filters: vec![filter], ..Default::default() }],
            ..Default::default()
        }
    };
    let expected = encode(&build());
    for _ in 0..10 {
        assert_eq!(encode(&build()), expected);
    }
    assert!(listener::Listener::decode(expected.as_slice()).is_ok());
}

#[test]
fn faulty_bytes_stay_as_they_are() {
    for bytes in [&[0x0a][..], &[0x0a, 0x7f, 1], &[0xff; 12], &[0x0b], &[0x0a, 0x02, 0x0a, 0x09]] {
        let mut sorted = bytes.to_vec();
        sort_maps("google.protobuf.Struct", &mut sorted);
        assert_eq!(sorted, bytes);
    }
    let mut unknown = vec![1, 2, 3];
    sort_maps("no.Such", &mut unknown);
    assert_eq!(unknown, [1, 2, 3]);
}
