export const modelUrl = new URL('./model/', import.meta.url);
