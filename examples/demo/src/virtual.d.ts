declare module 'virtual:bundled-model' {
  export const bundledModel: import('./models/bundled.ts').BundledModel;
}

declare module 'virtual:model-card' {
  export const card: import('./models/bundled.ts').ModelCard;
}
