//! `stellaclaw:plugin/images`: a drawing by whoever serves the role.

use stellaclaw_bindings::image_types::{Drawing, EditPrompt, Prompt};
use stellaclaw_bindings::images::Host;
use stellaclaw_bindings::types::Error;

use crate::plugins::DrawingOrder;
use crate::plugins::convert;
use crate::plugins::instance::Guest;

impl Guest {
    async fn draw(&mut self, order: DrawingOrder) -> wasmtime::Result<Result<Drawing, Error>> {
        let stop = self.call.stop.clone();
        Ok(match self.session()? {
            Ok(session) => session.helping.draw(order, &stop).await.map_err(convert::error_to_guest),
            Err(none) => Err(none),
        })
    }
}

impl Host for Guest {
    async fn generate(&mut self, prompt: Prompt) -> wasmtime::Result<Result<Drawing, Error>> {
        self.draw(DrawingOrder::New(prompt)).await
    }

    async fn edit(&mut self, prompt: EditPrompt) -> wasmtime::Result<Result<Drawing, Error>> {
        self.draw(DrawingOrder::Change(prompt)).await
    }
}
