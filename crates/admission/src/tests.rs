#[test]
fn admission_serves_all_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&crate::Admission::new());
}
