//! The fake refuses what the vendor refuses.

use serde_json::json;

use super::*;

fn thought(model: &str, text: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": super::super::sign(model, text)})
}

fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "ls", "input": {}})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": [{"type": "text", "text": "x"}]})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn with(messages: Value, more: Value) -> Checked {
    let mut body = json!({"model": "m", "max_tokens": 4096, "stream": true, "messages": messages});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let given = BTreeMap::from([("a".to_owned(), vec![thought("m", "hm"), call("a"), call("b")])]);
    check(&body, &given)
}

/// A loop of tools, with this in the places of what was asked and what was answered.
fn in_a_loop(asked: &[Value], answered: &[Value]) -> Checked {
    let user = |content: &[Value]| json!({"role": "user", "content": content});
    with(json!([user(&[text("go")]), {"role": "assistant", "content": asked}, user(answered)]), json!({}))
}

fn refused(checked: Checked, why: &str) {
    let said = checked.unwrap_err();
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_tool_loop_in_order_is_accepted() {
    let asked = [thought("m", "hm"), call("a"), call("b")];
    assert_eq!(in_a_loop(&asked, &[result("b"), result("a"), text("and hurry")]), Ok(()));
    refused(in_a_loop(&asked, &[result("a")]), "without `tool_result` blocks immediately after: b");
    refused(in_a_loop(&asked, &[result("a"), result("b"), result("c")]), "unexpected `tool_use_id`");
    refused(in_a_loop(&asked, &[result("a"), text("x"), result("b")]), "must come before all other content");
    refused(in_a_loop(&[call("a"), call("a")], &[result("a")]), "must be unique");
    refused(in_a_loop(&[call("a.b")], &[result("a.b")]), "should match pattern");
}

#[test]
fn what_was_thought_goes_back_as_it_was() {
    let answers = [result("a"), result("b")];
    let after = |asked: &[Value]| in_a_loop(asked, &answers);
    refused(after(&[call("a"), call("b")]), "cannot be modified");
    refused(after(&[call("a"), thought("m", "hm"), call("b")]), "cannot be modified");
    refused(after(&[thought("m", "hm"), thought("m", "more"), call("a"), call("b")]), "cannot be modified");
    refused(after(&[thought("other", "hm"), call("a"), call("b")]), "Invalid `signature`");
    let mut edited = thought("m", "hm");
    edited["thinking"] = "hmm".into();
    refused(after(&[edited, call("a"), call("b")]), "Invalid `signature`");
    refused(in_a_loop(&[text("x"), thought("m", "hm")], &[text("y")]), "cannot be `thinking`");
    let enabled = json!({"model": "m-4-5", "thinking": {"type": "enabled", "budget_tokens": 1024}});
    let begun = json!([{"role": "user", "content": [text("go")]}, {"role": "assistant", "content": [call("z")]},
        {"role": "user", "content": [result("z")]}]);
    refused(with(begun, enabled), "Expected `thinking`");
}

#[test]
fn empty_wrong_and_unknown_things_are_refused() {
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let said = |block: Value| with(user(json!([block])), json!({}));
    assert_eq!(said(text("x")), Ok(()));
    refused(said(text(" \n")), "non-whitespace");
    refused(said(json!({"type": "audio"})), "Input tag");
    let image = |data: &str| json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}});
    assert_eq!(said(image("iVBORw==")), Ok(()));
    refused(said(image("R0lGOA==")), "Could not process image");
    refused(with(json!([]), json!({})), "messages");
    refused(with(json!([{"role": "user", "content": [text("x")]}, {"role": "assistant", "content": [text("y")]}]), json!({})), "prefill");
    refused(with(json!([{"role": "assistant", "content": [text("y")]}]), json!({})), "alternate");
    let hi = || user(json!([text("hi")]));
    refused(with(hi(), json!({"temperature": 1.0})), "temperature: Extra inputs");
    refused(with(hi(), json!({"max_tokens": null})), "max_tokens");
    refused(with(hi(), json!({"tools": []})), "tools");
    refused(with(hi(), json!({"tool_choice": {"type": "auto"}})), "while providing tools");
    refused(with(hi(), json!({"thinking": {"type": "enabled", "budget_tokens": 2000}})), "not supported for this model");
    refused(with(hi(), json!({"model": "m-4-5", "thinking": {"type": "adaptive"}})), "adaptive thinking is not supported");
    refused(with(hi(), json!({"model": "m-4-5", "thinking": {"type": "enabled", "budget_tokens": 4096}})), "must be greater");
    refused(with(hi(), json!({"output_config": {"effort": "minimal"}})), "effort");
    refused(with(hi(), json!({"system": [text("")]})), "non-whitespace");
}

#[test]
fn marks_are_counted_and_ordered() {
    let marked = |ttl: &str| json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": ttl}});
    let all = |marks: &[&str]| {
        let blocks: Vec<_> = marks.iter().map(|ttl| marked(ttl)).collect();
        with(json!([{"role": "user", "content": blocks}]), json!({}))
    };
    assert_eq!(all(&["1h", "5m", "5m", "5m"]), Ok(()));
    refused(all(&["5m"; 5]), "Found 5");
    refused(all(&["5m", "1h"]), "must not come after");
    refused(all(&["2h"]), "none of '5m' and '1h'");
    let mut thinking = thought("m", "hm");
    thinking["cache_control"] = json!({"type": "ephemeral"});
    refused(in_a_loop(&[thinking, call("a"), call("b")], &[result("a"), result("b")]), "thinking.cache_control: Extra inputs");
}
