//! Envoy's protobuf types behind one facade, with their JSON mapping.
