//! The two services that every gRPC tool looks for: health, and reflection, by which `grpcurl` learns what there is.

use prost::Message;
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto,
    ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

use super::SERVICE;

/// Health, version 1.
const HEALTH: &str = "grpc.health.v1.Health";
/// Reflection under its two names, whose messages are the same.
const REFLECTION: [&str; 2] =
    ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
/// Name of the file that defines the echo service.
const FILE: &str = "ferrogate/echo/v1/echo.proto";
/// gRPC status `NOT_FOUND`.
const NOT_FOUND: i32 = 5;

/// A call to one of the services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standard {
    /// `Check`: one answer.
    HealthCheck,
    /// `Watch`: an answer, and no more.
    HealthWatch,
    /// An answer to each request.
    Reflection,
}

/// The call that a path asks for, if it is one of these.
pub(super) fn of(path: &str) -> Option<Standard> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    match (service, method) {
        (HEALTH, "Check") => Some(Standard::HealthCheck),
        (HEALTH, "Watch") => Some(Standard::HealthWatch),
        (service, "ServerReflectionInfo") if REFLECTION.contains(&service) => Some(Standard::Reflection),
        _ => None,
    }
}

/// `HealthCheckResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Health {
    /// 1 for `SERVING`, 2 for `NOT_SERVING`.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// What is told of the server as a whole, whatever service is asked about.
pub(super) fn health(is_serving: bool) -> Health {
    Health { status: if is_serving { 1 } else { 2 } }
}

/// `ServerReflectionRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Question {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(oneof = "Asked", tags = "3, 4, 7")]
    asked: Option<Asked>,
}

/// What reflection is asked for; extensions, of which there are none, are not among it.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
enum Asked {
    #[prost(string, tag = "3")]
    File(String),
    #[prost(string, tag = "4")]
    Symbol(String),
    #[prost(string, tag = "7")]
    Services(String),
}

/// `ServerReflectionResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(super) struct Answer {
    #[prost(string, tag = "1")]
    valid_host: String,
    #[prost(message, optional, tag = "2")]
    original_request: Option<Question>,
    #[prost(oneof = "Said", tags = "4, 6, 7")]
    said: Option<Said>,
}

#[derive(Clone, PartialEq, Eq, prost::Oneof)]
enum Said {
    #[prost(message, tag = "4")]
    Files(Files),
    #[prost(message, tag = "6")]
    Services(Services),
    #[prost(message, tag = "7")]
    Error(Error),
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Error {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// Answers reflection.
pub(super) fn reflect(question: Question) -> Answer {
    let said = match &question.asked {
        Some(Asked::Services(_)) => {
            let names = [SERVICE, HEALTH].into_iter().chain(REFLECTION);
            let services = names.map(|name| Service { name: name.to_owned() }).collect();
            Said::Services(Services { services })
        }
        Some(Asked::File(name)) if name == FILE => file(),
        Some(Asked::Symbol(symbol)) if is_ours(symbol) => file(),
        _ => Said::Error(Error { code: NOT_FOUND, message: "only the echo service is described".to_owned() }),
    };
    Answer { valid_host: question.host.clone(), original_request: Some(question), said: Some(said) }
}

fn is_ours(symbol: &str) -> bool {
    let package = SERVICE.rsplit_once('.').map_or("", |(package, _)| package);
    symbol.strip_prefix(package).is_some_and(|rest| rest.starts_with('.'))
}

fn file() -> Said {
    Said::Files(Files { files: vec![descriptor().encode_to_vec()] })
}

/// The definition of the echo service, as a compiler would make it of its `.proto`.
fn descriptor() -> FileDescriptorProto {
    let (package, service) = SERVICE.rsplit_once('.').unwrap_or(("", SERVICE));
    let method = |name: &str, client_streaming, server_streaming| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(format!(".{package}.EchoRequest")),
        output_type: Some(format!(".{package}.EchoResponse")),
        client_streaming: Some(client_streaming),
        server_streaming: Some(server_streaming),
        ..Default::default()
    };
    let headers = FieldDescriptorProto {
        type_name: Some(format!(".{package}.Header")),
        label: Some(Label::Repeated.into()),
        ..field("headers", 5, Type::Message)
    };
    FileDescriptorProto {
        name: Some(FILE.to_owned()),
        package: Some(package.to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![
            message(
                "EchoRequest",
                vec![
                    field("message", 1, Type::String),
                    field("count", 2, Type::Uint32),
                    field("status", 3, Type::Uint32),
                    field("delay_ms", 4, Type::Uint32),
                ],
            ),
            message(
                "EchoResponse",
                vec![
                    field("message", 1, Type::String),
                    field("backend", 2, Type::String),
                    field("path", 3, Type::String),
                    field("authority", 4, Type::String),
                    headers,
                    field("index", 6, Type::Uint32),
                    field("sni", 7, Type::String),
                ],
            ),
            message("Header", vec![field("name", 1, Type::String), field("value", 2, Type::String)]),
        ],
        service: vec![ServiceDescriptorProto {
            name: Some(service.to_owned()),
            method: vec![
                method("Unary", false, false),
                method("ServerStream", false, true),
                method("ClientStream", true, false),
                method("BidiStream", true, true),
            ],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: Some(name.to_owned()), field, ..Default::default() }
}

fn field(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind.into()),
        label: Some(Label::Optional.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(asked: Asked) -> Option<Said> {
        reflect(Question { host: "h".to_owned(), asked: Some(asked) }).said
    }

    #[test]
    fn reflection_lists_services_and_describes_ours() {
        let Some(Said::Services(list)) = asked(Asked::Services(String::new())) else { panic!("no list") };
        assert_eq!(list.services[0].name, SERVICE);
        for symbol in [SERVICE.to_owned(), format!("{SERVICE}.Unary"), "ferrogate.echo.v1.Header".to_owned()]
        {
            let Some(Said::Files(found)) = asked(Asked::Symbol(symbol)) else { panic!("no file") };
            let file = FileDescriptorProto::decode(&*found.files[0]).unwrap();
            assert_eq!(file.service[0].method.len(), 4);
        }
        for unknown in ["other.Service", "ferrogate.echo.v1alpha.Echo"] {
            assert!(matches!(asked(Asked::Symbol(unknown.to_owned())), Some(Said::Error(_))), "{unknown}");
        }
    }

    #[test]
    fn paths_tell_the_call() {
        assert_eq!(of("/grpc.health.v1.Health/Check"), Some(Standard::HealthCheck));
        let path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
        assert_eq!(of(path), Some(Standard::Reflection));
        assert_eq!(of("/grpc.health.v1.Health/Other"), None);
        assert_eq!(of("/a.B/Check"), None);
    }
}
