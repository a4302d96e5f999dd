declare module 'virtual:bundled-model' {
  export const bundledModel: import('./models/bundled.ts').BundledModel;
}
