// The npm packages `openai`, `@anthropic-ai/sdk` and `ai` (with four of its providers) against the gateway named by
// FREEHOLD_URL and FREEHOLD_KEY. Prints one line of JSON per check; tests/clients/test_node.py reads them.

import assert from "node:assert/strict";

import Anthropic from "@anthropic-ai/sdk";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogle } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

globalThis.AI_SDK_LOG_WARNINGS = false;
const url = process.env.FREEHOLD_URL;
const key = process.env.FREEHOLD_KEY;
const providers = ["openai", "anthropic", "gemini"];
const messages = [{ role: "user", content: "Where is my refund?" }];
const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
// An unknown Claude is taken for the newest, which refuses to be made to call a tool.
const named = { openai: "gpt-4o-mini", anthropic: "claude-sonnet-4-5", gemini: "gemini-2.5-flash" };
const intent = z.object({ intent: z.string(), sure: z.boolean() });

const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: url, apiKey: key, maxRetries: 0 });

const checks = {
  async openai_chat() {
    const tools = [{ type: "function", function: { name: "get_weather", parameters } }];
    for (const provider of providers) {
      const model = `${provider}/fake`;
      const whole = await openai.chat.completions.create({ model, messages });
      assert.equal(whole.choices[0].finish_reason, "stop");
      const stream = openai.chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
      const final = await stream.finalChatCompletion();
      assert.equal(final.choices[0].message.content, whole.choices[0].message.content);
      assert.equal(final.usage.completion_tokens, whole.usage.completion_tokens);
      const asked = await openai.chat.completions
        .stream({ model: `${provider}/fake-tools`, messages, tools })
        .finalChatCompletion();
      const call = asked.choices[0].message.tool_calls[0];
      assert.equal(call.function.name, "get_weather");
      assert.equal(typeof JSON.parse(call.function.arguments).city, "string");
      const result = { role: "tool", tool_call_id: call.id, content: "sunny" };
      const answer = await openai.chat.completions.create({
        model: `${provider}/fake-tools`,
        messages: [...messages, asked.choices[0].message, result],
        tools,
      });
      assert.ok(answer.choices[0].message.content);
    }
  },

  async openai_responses() {
    const tools = [{ type: "function", name: "get_weather", parameters, strict: false }];
    for (const provider of providers) {
      const model = `${provider}/fake-tools`;
      const first = await openai.responses.stream({ model, input: "Weather in Oslo?", tools }).finalResponse();
      const call = first.output.find((item) => item.type === "function_call");
      assert.equal(typeof JSON.parse(call.arguments).city, "string");
      const output = [{ type: "function_call_output", call_id: call.call_id, output: "sunny" }];
      const second = await openai.responses.create({ model, previous_response_id: first.id, input: output, tools });
      assert.ok(second.output_text);
      assert.ok(second.usage.total_tokens > 0);
    }
  },

  async openai_embeddings_and_models() {
    const reply = await openai.embeddings.create({ model: "gemini/fake", input: ["one", "two"] });
    assert.equal(reply.data.length, 2);
    assert.equal(typeof reply.data[0].embedding[0], "number");
    const names = [];
    for await (const model of openai.models.list()) names.push(model.id);
    assert.ok(names.includes("fast"));
  },

  async openai_errors() {
    const ask = (client, model) => client.chat.completions.create({ model, messages });
    await assert.rejects(ask(openai, "anthropic/fake-status-429"), OpenAI.RateLimitError);
    await assert.rejects(ask(openai, "fats"), (error) => error instanceof OpenAI.NotFoundError && /'fast'/.test(error));
    const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "fh-not-a-key-at-all", maxRetries: 0 });
    await assert.rejects(ask(stranger, "fast"), OpenAI.AuthenticationError);
  },

  async anthropic_messages() {
    const tools = [{ name: "get_weather", input_schema: parameters }];
    for (const provider of providers) {
      const model = `${provider}/fake`;
      const whole = await anthropic.messages.create({ model, max_tokens: 50, messages });
      const final = await anthropic.messages.stream({ model, max_tokens: 50, messages }).finalMessage();
      assert.equal(final.content[0].text, whole.content[0].text);
      assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
      const asked = await anthropic.messages
        .stream({ model: `${provider}/fake-tools`, max_tokens: 50, messages, tools })
        .finalMessage();
      assert.equal(asked.stop_reason, "tool_use");
      const call = asked.content.find((block) => block.type === "tool_use");
      assert.equal(typeof call.input.city, "string");
      const answer = await anthropic.messages.create({
        model: `${provider}/fake-tools`,
        max_tokens: 50,
        messages: [
          ...messages,
          { role: "assistant", content: asked.content },
          { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "sunny" }] },
        ],
        tools,
      });
      assert.ok(answer.content[0].text);
      assert.ok((await anthropic.messages.countTokens({ model, messages })).input_tokens > 0);
    }
    const names = [];
    for await (const model of anthropic.models.list()) names.push(model.id);
    assert.ok(names.includes("fast"));
  },

  async anthropic_errors() {
    const ask = (client, model) => client.messages.create({ model, max_tokens: 5, messages });
    await assert.rejects(ask(anthropic, "openai/fake-status-429"), Anthropic.RateLimitError);
    await assert.rejects(ask(anthropic, "fats"), Anthropic.NotFoundError);
    const stranger = new Anthropic({ baseURL: url, apiKey: "fh-not-a-key-at-all", maxRetries: 0 });
    await assert.rejects(ask(stranger, "fast"), Anthropic.AuthenticationError);
  },
};

// The AI SDK: `openai(id)` speaks Responses, `openai.chat(id)` and the compatible provider chat completions.
const kits = {
  openai_responses: createOpenAI({ baseURL: `${url}/v1`, apiKey: key }),
  openai_chat: createOpenAI({ baseURL: `${url}/v1`, apiKey: key }).chat,
  openai_compatible: createOpenAICompatible({
    name: "freehold",
    baseURL: `${url}/v1`,
    apiKey: key,
    includeUsage: true,
    supportsStructuredOutputs: true,
  }),
  anthropic: createAnthropic({ baseURL: `${url}/v1`, apiKey: key }),
  google: googleNamed(createGoogle({ baseURL: `${url}/v1beta`, apiKey: key })),
};

// A name with a slash is a whole path to this provider, as `tunedModels/x` is.
function googleNamed(google) {
  return (name) => google(name.includes("/") ? `models/${name}` : name);
}

for (const [kit, make] of Object.entries(kits)) {
  checks[`ai_${kit}`] = async () => {
    for (const provider of providers) {
      const plain = { model: make(`${provider}/fake`), prompt: "Where is my refund?", maxRetries: 0 };
      const whole = await generateText(plain);
      assert.ok(whole.text);
      assert.ok(whole.usage.outputTokens > 0, `no usage from ${provider}`);
      const stream = streamText(plain);
      let text = "";
      for await (const part of stream.textStream) text += part;
      assert.equal(text, whole.text);
      assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);

      const cities = [];
      const weather = tool({
        description: "The weather of a city",
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => cities.push(city) && "sunny",
      });
      const loop = {
        ...plain,
        model: make(`${provider}/fake-tools`),
        tools: { get_weather: weather },
        stopWhen: stepCountIs(3),
      };
      assert.ok((await generateText(loop)).text);
      assert.ok(await streamText(loop).text);
      assert.equal(cities.length, 2);

      const model = make(`${provider}/${named[provider]}`);
      const typed = await generateText({ ...plain, model, output: Output.object({ schema: intent }) });
      assert.equal(typeof typed.output.intent, "string");
    }
    const failing = { model: make("anthropic/fake-status-429"), prompt: "hi", maxRetries: 0 };
    await assert.rejects(generateText(failing), (error) => APICallError.isInstance(error) && error.statusCode === 429);
    const unknown = { model: make("fats"), prompt: "hi", maxRetries: 0 };
    await assert.rejects(generateText(unknown), (error) => APICallError.isInstance(error) && /'fast'/.test(error.message));
  };
}

checks.ai_embeddings = async () => {
  const model = kits.openai_compatible.embeddingModel("gemini/fake");
  assert.equal((await embedMany({ model, values: ["one", "two"] })).embeddings.length, 2);
};

for (const [check, run] of Object.entries(checks)) {
  let problem = null;
  try {
    await run();
  } catch (error) {
    problem = error?.stack ?? String(error);
  }
  console.log(JSON.stringify({ check, problem }));
}
