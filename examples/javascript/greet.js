// Greets somebody by name: a plugin in JavaScript.

const parameters = {
  type: 'object',
  properties: { who: { type: 'string', description: 'Who is greeted.' } },
  required: ['who'],
  additionalProperties: false,
};

export const tools = {
  catalog(_session) {
    return [
      {
        name: 'greet',
        description: 'Greets somebody by name.',
        parameters: JSON.stringify(parameters),
        batching: 'parallel',
        replay: 'read',
      },
    ];
  },

  run(call) {
    const { who } = JSON.parse(call.arguments);
    return { parts: [{ tag: 'text', val: `Hello, ${who}!` }] };
  },
};
